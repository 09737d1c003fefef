import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arte.errors import ModelError
from arte.models import ModelFolder
from arte.models.folder import inspect, tensor_shapes, weight_files


def safetensors_file(path: Path, header: object, data: bytes) -> Path:
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    return path


GOOD = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [4, 28]},
    "b": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
}


def test_shapes_come_from_the_header(tmp_path: Path) -> None:
    file = safetensors_file(tmp_path / "w.safetensors", GOOD, bytes(28))
    assert tensor_shapes(file) == {"a": [2, 3], "b": [2]}


def test_every_way_a_safetensors_file_can_be_broken(tmp_path: Path) -> None:
    def tensor(dtype: str, shape: list[int], start: int, end: int) -> dict[str, object]:
        return {"t": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}

    broken = [
        (GOOD, bytes(27), "27 bytes of data, the header says 28"),
        (GOOD, bytes(29), "29 bytes of data, the header says 28"),
        (tensor("F32", [2], 0, 4), bytes(4), r"tensor 't', F32 \[2\], has 4 bytes"),
        (tensor("F32", [1], 4, 8), bytes(8), "hole at byte 0"),
        (GOOD | tensor("F32", [1], 20, 24), bytes(28), "overlap"),
        (tensor("F32", [-1], 0, 4), bytes(4), r"has shape \[-1\]"),
        ({"t": {"dtype": "F32"}}, b"", "lacks dtype, shape or data_offsets"),
        ([], b"", "not a JSON object"),
    ]
    for header, data, message in broken:
        with pytest.raises(ModelError, match=message):
            tensor_shapes(safetensors_file(tmp_path / "w.safetensors", header, data))
    for content, message in (
        (b"", "0 bytes cannot hold"),
        (b"\xff" * 8, "cannot hold"),
        (b"\x02" + bytes(7) + b"{x", "not JSON"),
    ):
        (tmp_path / "w.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match=message):
            tensor_shapes(tmp_path / "w.safetensors")
    assert len(broken) == 8


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_header_gives_a_model_error_or_shapes(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("st") / "w.safetensors"
    content = bytearray(safetensors_file(path, GOOD, bytes(28)).read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    if data.draw(st.booleans()):
        del content[cut:]
    else:
        content[cut : cut + 1] = data.draw(st.binary(min_size=1, max_size=2))
    path.write_bytes(content)
    try:
        assert all(isinstance(shape, list) for shape in tensor_shapes(path).values())
    except ModelError:
        return


@pytest.fixture
def copy(tiny_student: ModelFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_student.path, tmp_path / "model"))


def test_digest_names_the_model_not_the_place(copy: Path, tiny_student: ModelFolder) -> None:
    assert inspect(copy, "mine", "folder")[1:] == ("mine", "folder", tiny_student.sha256, tiny_student.parameters)
    (copy / "README.md").write_text("no part of the model")
    assert inspect(copy, "mine", "folder").sha256 == tiny_student.sha256
    (copy / "chat_template.jinja").write_text("another template")
    assert inspect(copy, "mine", "folder").sha256 != tiny_student.sha256


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def index_of_missing_shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    files = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def index_that_leaves_the_folder(folder: Path) -> None:
    without_weights(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pickled, r"pickled weights only \(pytorch_model.bin\).*use a copy in safetensors"),
        (cut_short, "broken safetensors file: .* the header says"),
        (without_tokenizer, "holds no tokenizer"),
        (without_weights, "holds no weights; expected model.safetensors"),
        (without_config, "holds no config.json; expected a model folder"),
        (broken_config, "config.json: is not a JSON object"),
        (adapter, "PEFT adapter: merge it"),
        (index_of_missing_shards, r"1 of 2 weight files are missing \(model-00002-of-00002.safetensors\)"),
        (index_that_leaves_the_folder, "names '../other.safetensors'; expected files of the same folder"),
    ],
)
def test_a_broken_folder_says_what_is_wrong(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    inspect(copy, "whole", "folder")
    damage(copy)
    with pytest.raises(ModelError, match=message) as failure:
        inspect(copy, "broken", "folder")
    assert str(copy) in str(failure.value)


def test_shards_are_those_of_the_index(copy: Path) -> None:
    index_of_missing_shards(copy)
    shutil.copy(copy / "model-00001-of-00002.safetensors", copy / "model-00002-of-00002.safetensors")
    shutil.copy(copy / "model-00001-of-00002.safetensors", copy / "consolidated.safetensors")
    assert [file.name for file in weight_files(copy)] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
