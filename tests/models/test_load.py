import json
import shutil
from pathlib import Path

import pytest
import torch

from arte import models
from arte.errors import ModelError
from arte.models import ModelFolder
from arte.models.load import load, refuse_without_memory


def test_loads_in_the_number_type_asked_for(tiny_student: ModelFolder) -> None:
    import torch

    for dtype in ("float32", "bfloat16"):
        model, tokenizer = models.load(tiny_student.path, dtype, "cpu")
        assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
        assert not model.training
        assert model.num_parameters() == tiny_student.parameters
        assert (tokenizer.padding_side, tokenizer.pad_token) == ("left", "<|pad|>")
        batch = tokenizer(["ba", "ba to"], padding=True)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(batch[0]) == ["<|pad|>", "ba"]
        assert tokenizer.convert_ids_to_tokens(batch[1]) == ["ba", "▁to"]


@pytest.fixture
def copy(tiny_student: ModelFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_student.path, tmp_path / "model"))


def test_the_output_layer_sees_rows_without_gaps(tiny_student: ModelFolder) -> None:
    model, _ = load(tiny_student.path, "float32", "cpu")
    seen: list[tuple[tuple[int, ...], bool]] = []
    model.get_output_embeddings().register_forward_pre_hook(
        lambda _, given: seen.append((tuple(given[0].shape), given[0].is_contiguous()))
    )
    model(input_ids=torch.arange(12).view(3, 4), logits_to_keep=2)
    assert seen == [((3, 2, model.config.hidden_size), True)]


def test_a_tokenizer_without_pad_token_pads_with_its_end_token(copy: Path) -> None:
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    _, tokenizer = models.load(copy, "float32", "cpu")
    assert tokenizer.pad_token == "<|im_end|>"


def test_weights_that_are_not_there_are_not_made_up(copy: Path) -> None:
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError, match=r"9 weights that its config\.json asks for are missing \(model\.layers\.2\."):
        models.load(copy, "float32", "cpu")


def test_what_transformers_cannot_load_is_said(copy: Path) -> None:
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"model_type": "no-such-architecture"}))
    with pytest.raises(ModelError, match=r"transformers cannot load it: .*no-such-architecture"):
        models.load(copy, "float32", "cpu")


def test_a_device_that_is_not_there(tiny_student: ModelFolder) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelError, match="asked for on cuda, but torch sees no GPU"):
        models.load(tiny_student.path, "float32", "cuda")


def test_what_does_not_fit_is_refused() -> None:
    refuse_without_memory(1, "one byte", "cpu")
    with pytest.raises(
        ModelError, match=r"a giant: needs 1048576\.0 GiB of memory, \d+\.\d GiB are free on cpu; close"
    ):
        refuse_without_memory(2**50, "a giant", "cpu")


def test_number_type_is_the_faster_one() -> None:
    assert models.compute_dtype("float32") == "float32"
    assert models.compute_dtype("bfloat16") == "bfloat16"
    speeds = {dtype: models.products_per_second(dtype) for dtype in ("float32", "bfloat16")}
    assert all(speed > 1e7 for speed in speeds.values())
    import torch

    if not torch.cuda.is_available():
        assert models.compute_dtype("auto") == max(speeds, key=speeds.__getitem__)
        assert models.products_per_second("auto") == max(speeds.values())
