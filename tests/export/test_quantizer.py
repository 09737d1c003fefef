import os
import resource
import shutil
import signal
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from arte_export import child, gguf, imatrix, quantizer, schemes
from arte_export.activations import Sum
from arte_export.errors import BadModel, ChildDied, ExportError
from arte_export.gguf import Wanted
from arte_export.schemes import SCHEMES

from tests.export import written_gguf
from tests.export.holders import holders

DOWN = "blk.1.ffn_down.weight"  # of two: the first eighth of the layers, none here, gets larger types
LARGEST_ERROR = {  # root mean square of the rounding errors of normal weights in bf16, over that of the weights
    "F32": 0.0, "F16": 1e-10, "BF16": 0.0, "Q8_0": 0.01, "Q6_K": 0.02, "Q5_K": 0.04, "Q5_1": 0.04, "Q5_0": 0.05,
    "Q4_K": 0.08, "Q4_1": 0.09, "Q4_0": 0.1, "IQ4_NL": 0.09, "IQ4_XS": 0.09, "Q3_K": 0.17, "IQ3_S": 0.17,
    "IQ3_XXS": 0.21, "Q2_K": 0.3, "IQ2_S": 0.33, "IQ2_XS": 0.35, "IQ2_XXS": 0.4, "IQ1_M": 0.5, "IQ1_S": 0.55,
    "TQ2_0": 0.9, "TQ1_0": 0.9,
}  # fmt: skip

usage = namedtuple("usage", "total used free")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_gguf.wide_model(tmp_path_factory.mktemp("wide") / "wide.gguf")


@pytest.fixture(scope="module")
def importance(wide: Path) -> Path:
    return written_gguf.importance_of(wide, wide.with_name("importance.gguf"))


@pytest.fixture(scope="module")
def written(wide: Path, importance: Path) -> dict[str, Path]:
    """The wide model in every scheme, all with the importance matrix."""
    files = {name: wide.with_name(f"{name}.gguf") for name in SCHEMES}
    gguf.quantize(wide, [Wanted(file, SCHEMES[name], importance) for name, file in files.items()])
    return files


def test_schemes_are_llama_cpps_own() -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    theirs = {key.split("_", 3)[3].lower(): getattr(llama_cpp, key) for key in dir(llama_cpp)
              if key.startswith(("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_"))}  # fmt: skip
    assert {name: scheme.ftype for name, scheme in SCHEMES.items()} == {
        name: ftype for name, ftype in theirs.items() if name not in ("nvfp4", "q1_0")
    }
    assert len(SCHEMES) == len(theirs) - 2 == 34
    assert all(scheme.encoding == name.upper() for name, scheme in SCHEMES.items())
    assert schemes.of_ftype(15) == schemes.load("Q4_K_M")
    assert schemes.of_ftype(1024) is None


def test_every_scheme_is_read_back_within_its_rounding(wide: Path, written: dict[str, Path]) -> None:
    from gguf import GGUFReader, dequantize

    original = next(tensor for tensor in GGUFReader(wide).tensors if tensor.name == DOWN)
    expected = dequantize(original.data, original.tensor_type)
    kinds, wrong = {}, []
    for name, file in written.items():
        if name == "q2_0":  # its type is newer than the gguf package, which cannot read it
            continue
        reader = GGUFReader(file)
        assert reader.fields["general.file_type"].contents() == schemes.load(name).ftype
        tensor = next(tensor for tensor in reader.tensors if tensor.name == DOWN)
        error = dequantize(tensor.data, tensor.tensor_type) - expected
        kinds[name] = tensor.tensor_type.name
        share = float(np.sqrt((error**2).mean() / (expected**2).mean()))
        if not LARGEST_ERROR[kinds[name]] / 4 <= share <= LARGEST_ERROR[kinds[name]]:
            wrong.append((name, kinds[name], share))
    assert wrong == []
    assert len(kinds) == 33
    assert set(kinds.values()) == set(LARGEST_ERROR)


def test_bits_per_weight_and_the_need_of_a_matrix_are_as_llama_cpp_says_for_an_8b_llama(tmp_path: Path) -> None:
    found = child.run(
        partial(dry_runs, written_gguf.eight_billion(tmp_path / "8b.gguf")), holding=tmp_path, limit_s=120
    ).result
    assert {name: (round(bits, 2), needs) for name, bits, needs in found} == {
        name: (scheme.bits_per_weight, scheme.needs_importance) for name, scheme in SCHEMES.items()
    }
    assert sum(needs for _, _, needs in found) == 9


def dry_runs(file: Path) -> list[tuple[str, float, bool]]:
    """What llama.cpp says of each scheme without quantising: bits per weight, whether it will ask for a matrix."""
    found = []
    one = quantizer._Quantizer(file)
    for name, scheme in SCHEMES.items():
        one._run(Wanted(file, scheme), Path(os.devnull), dry_run=True)
        said = "".join(one.said)
        bits = float(said.split("quant size")[1].split("(")[1].split(" BPW")[0])
        found.append((name, bits, "will require an imatrix" in said))
    return found


def test_the_matrix_is_named_in_the_file_and_changes_the_weights(
    wide: Path, importance: Path, written: dict[str, Path], tmp_path: Path
) -> None:
    from gguf import GGUFReader

    plain = {name: tmp_path / f"{name}.gguf" for name in ("q4_k_m", "q4_0", "iq4_xs", "q2_k", "q8_0")}
    gguf.quantize(wide, [Wanted(file, SCHEMES[name]) for name, file in plain.items()])
    changed = {}
    for name, file in plain.items():
        with_matrix, without = GGUFReader(written[name]), GGUFReader(file)
        keys = {key.removeprefix("quantize.imatrix."): field.contents()
                for key, field in with_matrix.fields.items() if key.startswith("quantize.imatrix.")}  # fmt: skip
        assert keys == {"file": importance.name, "dataset": "some rows", "entries_count": 14, "chunks_count": 3}
        assert not any(key.startswith("quantize.imatrix.") for key in without.fields)
        changed[name] = sum(
            one.data.tobytes() != other.data.tobytes()
            for one, other in zip(with_matrix.tensors, without.tensors, strict=True)
            if one.tensor_type == other.tensor_type and one.name.startswith("blk.")
        )
    # 14 weights in 2 blocks; q8_0 rounds each number alone, with nothing to weigh
    assert changed == {"q4_k_m": 14, "q4_0": 14, "iq4_xs": 14, "q2_k": 14, "q8_0": 0}


def test_a_matrix_that_does_not_fit_is_refused_before_anything_is_written(wide: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    longer = written_gguf.importance_of(wide, tmp_path / "longer.gguf", longer=64)
    other = tmp_path / "other.gguf"
    imatrix._write(other, {"enc.blk.7.attn_q.weight": Sum(np.ones((1, 256)), np.array([5]))}, "x", 1, 512)
    cases = [
        (longer, BadModel, r"blk\.0\.attn_k\.weight has 320 values, the tensor in wide\.gguf 256 columns × 1"),
        (other, BadModel, r"it holds enc\.blk\.7\.attn_q\.weight and 0 more, of which wide\.gguf has none"),
        (wide, BadModel, r"no importance matrix \(general\.type is None, expected 'imatrix'"),
        (tmp_path / "nowhere.gguf", BadModel, "nowhere.gguf: no such file"),
        (None, ExportError, r"out\.gguf: iq2_xs needs an importance matrix for this model; give one, or choose"),
    ]
    for matrix, kind, message in cases:
        with pytest.raises(kind, match=message):
            gguf.quantize(wide, [Wanted(out, SCHEMES["iq2_xs"], matrix)])
    assert sorted(tmp_path.iterdir()) == [longer, other]


def test_a_matrix_that_lacks_a_tensor_serves_k_quants_and_names_it_for_the_lowest(wide: Path, tmp_path: Path) -> None:
    partial_matrix = written_gguf.importance_of(wide, tmp_path / "partial.gguf", leave_out="ffn_up")
    wanted = [Wanted(tmp_path / f"{name}.gguf", SCHEMES[name], partial_matrix) for name in ("q4_k_m", "iq2_xs")]
    with pytest.raises(ExportError, match=r"Missing importance matrix for tensor blk\.0\.ffn_up\.weight"):
        gguf.quantize(wide, wanted)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["partial.gguf", "q4_k_m.gguf"]


def test_the_source_s_own_scheme_is_a_copy(wide: Path, written: dict[str, Path]) -> None:
    assert written["bf16"].read_bytes() == wide.read_bytes()
    assert written["f32"].stat().st_size > written["bf16"].stat().st_size


def almost_full(source: Path, wanted: list[Wanted], free: int) -> None:
    shutil.disk_usage = lambda _path: usage(10**9, 10**9 - free, free)  # type: ignore[assignment, return-value]
    quantizer.write_all(source, wanted)


def test_the_dry_run_sizes_the_disk_check(wide: Path, written: dict[str, Path], tmp_path: Path) -> None:
    wanted = [Wanted(tmp_path / f"{name}.gguf", SCHEMES[name]) for name in ("q8_0", "q4_k_m")]
    needed = sum(written[name].stat().st_size for name in ("q8_0", "q4_k_m"))
    with pytest.raises(ExportError, match=r"free, about 0\.0 GB needed for q8_0, q4_k_m; free some space"):
        child.run(partial(almost_full, wide, wanted, needed - 10_000), holding=wide, limit_s=60)
    assert list(tmp_path.iterdir()) == []
    child.run(partial(almost_full, wide, wanted, needed + 300_000), holding=wide, limit_s=60)
    assert len(list(tmp_path.iterdir())) == 2


def write_little(source: Path, wanted: list[Wanted], largest: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    quantizer.write_all(source, wanted)


def test_a_file_that_the_disk_cut_short_is_not_kept(wide: Path, tmp_path: Path) -> None:
    # llama.cpp itself reports success: its stream does not throw on a failed write
    wanted = [Wanted(tmp_path / "q8_0.gguf", SCHEMES["q8_0"])]
    with pytest.raises(ExportError, match=r"cut short|could not quantise"):
        child.run(partial(write_little, wide, wanted, 500_000), holding=wide, limit_s=60)
    assert not (tmp_path / "q8_0.gguf").exists()


def test_a_killed_quantizer_leaves_whole_files_only(wide: Path, tmp_path: Path) -> None:
    wanted = [Wanted(tmp_path / f"{number}.gguf", SCHEMES["q3_k_m"]) for number in range(400)]

    def kill(done: int, _total: int) -> None:
        if done == 3:
            for process in holders():
                process.kill()

    with pytest.raises(ChildDied, match=r"wide\.gguf: the process that held this file was killed by SIGKILL"):
        gguf.quantize(wide, wanted, kill)
    files = sorted(tmp_path.iterdir(), key=lambda file: int(file.stem))
    assert 3 <= len(files) < 400
    assert [file.name for file in files] == [f"{number}.gguf" for number in range(len(files))]
    assert len({file.read_bytes() for file in files}) == 1


def test_a_broken_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(BadModel, match=r"source\.gguf: broken GGUF file: version 0, expected 2 or 3"):
        gguf.quantize(tmp_path / "source.gguf", [Wanted(tmp_path / "out.gguf", SCHEMES["q8_0"])])
    with pytest.raises(BadModel, match=r"nowhere\.gguf: no such file; expected a GGUF file"):
        gguf.quantize(tmp_path / "nowhere.gguf", [Wanted(tmp_path / "out.gguf", SCHEMES["q8_0"])])
    assert [file.name for file in tmp_path.iterdir()] == ["source.gguf"]
