import json
import os
import resource
import shutil
import signal
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from arte_export import child, converter, gguf, gguf_header, imatrix, quantizer, schemes, strings
from arte_export.activations import Sum
from arte_export.errors import BadModel, ChildDied, ExportError
from arte_export.gguf import Wanted
from arte_export.metadata import Metadata
from arte_export.schemes import SCHEMES

DOWN = "blk.1.ffn_down.weight"  # of two: the first eighth of the layers, none here, gets larger types
LARGEST_ERROR = {  # root mean square of the rounding errors of normal weights in bf16, over that of the weights
    "F32": 0.0, "F16": 1e-10, "BF16": 0.0, "Q8_0": 0.01, "Q6_K": 0.02, "Q5_K": 0.04, "Q5_1": 0.04, "Q5_0": 0.05,
    "Q4_K": 0.08, "Q4_1": 0.09, "Q4_0": 0.1, "IQ4_NL": 0.09, "IQ4_XS": 0.09, "Q3_K": 0.17, "IQ3_S": 0.17,
    "IQ3_XXS": 0.21, "Q2_K": 0.3, "IQ2_S": 0.33, "IQ2_XS": 0.35, "IQ2_XXS": 0.4, "IQ1_M": 0.5, "IQ1_S": 0.55,
    "TQ2_0": 0.9, "TQ1_0": 0.9,
}  # fmt: skip


def write_wide(file: Path, columns: int = 256) -> Path:
    """A Llama of 2 layers in bf16 as GGUF, without tokens: the quantizer asks for none."""
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    writer = GGUFWriter(file, "llama")
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(columns)
    writer.add_feed_forward_length(2 * columns)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(32)
    random = np.random.default_rng(0)
    kinds = GGMLQuantizationType
    shapes = {"token_embd": (512, columns), "output": (512, columns), "output_norm": (columns,)}
    for block in ("blk.0", "blk.1"):
        shapes |= {f"{block}.{norm}": (columns,) for norm in ("attn_norm", "ffn_norm")}
        shapes |= {f"{block}.{name}": (columns, columns) for name in ("attn_q", "attn_output")}
        shapes |= {f"{block}.{name}": (columns // 2, columns) for name in ("attn_k", "attn_v")}
        shapes |= {f"{block}.{name}": (2 * columns, columns) for name in ("ffn_gate", "ffn_up")}
        shapes[f"{block}.ffn_down"] = (columns, 2 * columns)
    for name, shape in shapes.items():
        values = random.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", values)
        else:
            writer.add_tensor(f"{name}.weight", quantize(values, kinds.BF16), raw_dtype=kinds.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def write_importance(file: Path, of: Path, leave_out: str = "nothing", longer: int = 0) -> Path:
    """A matrix for every block weight but those whose name holds `leave_out`."""
    random = np.random.default_rng(1)
    header = gguf_header.read(of)
    sums = {}
    for name in imatrix._quantizable(header):
        if leave_out not in name:
            columns = header.tensors[name].shape[0] + longer
            sums[name] = Sum(100 * random.random((1, columns)), np.array([100]))
    imatrix._write(file, sums, "some rows", 3, 512)
    return file


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wide(tmp_path_factory.mktemp("wide") / "wide.gguf")


@pytest.fixture(scope="module")
def importance(wide: Path) -> Path:
    return write_importance(wide.with_name("importance.gguf"), wide)


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
    found = child.run(partial(dry_runs, eight_billion(tmp_path / "8b.gguf")), holding=tmp_path, limit_s=120).result
    assert {name: (round(bits, 2), needs) for name, bits, needs in found} == {
        name: (scheme.bits_per_weight, scheme.needs_importance) for name, scheme in SCHEMES.items()
    }
    assert sum(needs for _, _, needs in found) == 9


def eight_billion(file: Path) -> Path:
    """Llama-3.1-8B in bf16 without its data: a file of 16 GB that takes no room on the disk."""
    from gguf import GGUFWriter

    vocabulary, width, inner, layers, keys = 128256, 4096, 14336, 32, 1024
    writer = GGUFWriter(file, "llama")
    for add, value in (
        (writer.add_block_count, layers), (writer.add_context_length, 8192), (writer.add_embedding_length, width),
        (writer.add_feed_forward_length, inner), (writer.add_head_count, 32), (writer.add_head_count_kv, 8),
        (writer.add_vocab_size, vocabulary), (writer.add_file_type, 32),
    ):  # fmt: skip
        add(value)
    writer.add_layer_norm_rms_eps(1e-5)
    shapes = {"token_embd": (vocabulary, width), "output": (vocabulary, width), "output_norm": (width,)}
    for block in range(layers):
        shapes |= {f"blk.{block}.{name}": shape for name, shape in {
            "attn_norm": (width,), "ffn_norm": (width,), "attn_q": (width, width), "attn_k": (keys, width),
            "attn_v": (keys, width), "attn_output": (width, width), "ffn_gate": (inner, width),
            "ffn_up": (inner, width), "ffn_down": (width, inner)}.items()}  # fmt: skip
    size = 0
    for name, shape in shapes.items():
        numbers = int(np.prod(shape)) * (2 if len(shape) > 1 else 4)
        kind = np.dtype(np.float16 if len(shape) > 1 else np.float32)
        writer.add_tensor_info(f"{name}.weight", shape, kind, numbers)
        size += numbers
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(file, file.stat().st_size + size + 4096)
    return file


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
    longer = write_importance(tmp_path / "longer.gguf", wide, longer=64)
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
    partial_matrix = write_importance(tmp_path / "partial.gguf", wide, leave_out="ffn_up")
    wanted = [Wanted(tmp_path / f"{name}.gguf", SCHEMES[name], partial_matrix) for name in ("q4_k_m", "iq2_xs")]
    with pytest.raises(ExportError, match=r"Missing importance matrix for tensor blk\.0\.ffn_up\.weight"):
        gguf.quantize(wide, wanted)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["partial.gguf", "q4_k_m.gguf"]


def test_the_source_s_own_scheme_is_a_copy(wide: Path, written: dict[str, Path]) -> None:
    assert written["bf16"].read_bytes() == wide.read_bytes()
    assert written["f32"].stat().st_size > written["bf16"].stat().st_size


def test_names_and_sizes(tiny_files: dict[str, Path]) -> None:
    assert {file.name.split("-")[-1] for file in tiny_files.values()} == {
        f"{scheme.encoding}.gguf" for scheme in SCHEMES.values()
    }
    assert all(file.name.startswith("tiny-") for file in tiny_files.values())
    folder = tiny_files["f32"].parent
    assert sorted(os.listdir(folder)) == sorted(file.name for file in tiny_files.values())
    assert all(file.stat().st_nlink == 1 for file in tiny_files.values())
    size = {name: file.stat().st_size for name, file in tiny_files.items()}
    assert size["q4_0"] < size["q8_0"] < size["bf16"] == size["f16"] < size["f32"]


def test_unknown_scheme_names_the_nearest(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no GGUF scheme is called 'q4_km'; did you mean q4_k_m"):
        gguf.export(tiny_model, tmp_path / "out", ["q8_0", "q4_km"], "tiny", tmp_path)
    assert not (tmp_path / "out").exists()


usage = namedtuple("usage", "total used free")


def test_too_little_disk_is_found_before_any_work(
    tiny_model: Path, converter_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9 - 10**7, 10**7))
    with pytest.raises(ExportError, match=r"0\.0 GB free, about 0\.1 GB needed for f32, q8_0"):
        gguf.export(tiny_model, tmp_path / "out", ["q8_0"], "tiny", converter_home)
    assert list((tmp_path / "out").iterdir()) == []


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
            for process in psutil.Process().children():
                process.kill()

    with pytest.raises(ChildDied, match=r"wide\.gguf: the process that held this file was killed by SIGKILL"):
        gguf.quantize(wide, wanted, kill)
    files = sorted(tmp_path.iterdir(), key=lambda file: int(file.stem))
    assert 3 <= len(files) < 400
    assert [file.name for file in files] == [f"{number}.gguf" for number in range(len(files))]
    assert len({file.read_bytes() for file in files}) == 1


def test_an_unknown_architecture_is_named_with_the_nearest(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    config = json.loads((tiny_model / "config.json").read_text())

    def declare(name: str, **more: object) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": [name], **more}))

    for name in ("LlamaForCausalLM", "Qwen3ForCausalLM", "Gemma3ForCausalLM", "GPT2LMHeadModel"):
        declare(name)
        converter.check_architecture(tmp_path, converter_home)
    declare("NobodyKnows", text_config={"architectures": ["Qwen2ForCausalLM"]})
    converter.check_architecture(tmp_path, converter_home)
    declare("Qwen33ForCausalLM")
    with pytest.raises(
        BadModel,
        match=r"architecture Qwen33ForCausalLM is none of the \d{3} that llama\.cpp's converter 0\.1\.1 knows; "
        r"nearest known: Qwen3ForCausalLM, ",
    ):
        converter.check_architecture(tmp_path, converter_home)


def test_what_the_converter_cannot_take_is_named_and_leaves_nothing(
    tiny_model: Path, converter_home: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    out = tmp_path / "out"
    (out / gguf.WORK).mkdir(parents=True)
    (out / gguf.WORK / "source.gguf").write_bytes(b"left by a killed run")
    with pytest.raises(BadModel, match=r"llama\.cpp has no name for the way this tokenizer splits text"):
        gguf.export(copy, out, ["q8_0"], "tiny", converter_home)
    assert list(out.iterdir()) == []


def test_a_broken_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(BadModel, match=r"source\.gguf: broken GGUF file: version 0, expected 2 or 3"):
        gguf.quantize(tmp_path / "source.gguf", [Wanted(tmp_path / "out.gguf", SCHEMES["q8_0"])])
    with pytest.raises(BadModel, match=r"nowhere\.gguf: no such file; expected a GGUF file"):
        gguf.quantize(tmp_path / "nowhere.gguf", [Wanted(tmp_path / "out.gguf", SCHEMES["q8_0"])])
    assert [file.name for file in tmp_path.iterdir()] == ["source.gguf"]


def convert_each(folders: list[Path], out: Path) -> list[str]:
    """All in one process, to pay for the converter's imports once; the error of each, or ""."""
    errors = []
    for folder in folders:
        try:
            converter._convert(folder, out / f"{folder.name}.gguf", "f32", Metadata.named(folder.name, 10**5))
            errors.append("")
        except ExportError as error:
            errors.append(str(error))
    return errors


def token_ids(file: Path, texts: list[str]) -> list[list[int]]:
    from arte_export import runtime

    with runtime.load(file, vocabulary_only=True) as model:
        return [model.tokenise(text) for text in texts]


def test_tokenizers_that_no_hash_knows_convert_with_the_same_token_ids(
    model_maker: Callable[..., Path], converter_home: Path, tmp_path: Path
) -> None:
    from arte_export import pretokenizer
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split
    from transformers import AutoTokenizer

    def split(pattern: str) -> PreTokenizer:
        steps = [Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
        return Sequence(steps)

    byte_level = ByteLevel(add_prefix_space=False)
    wanted = {
        "smollm": (Sequence([Digits(individual_digits=True), byte_level]), False),
        "qwen2": (split(pretokenizer.QWEN2), False),
        "smaug-bpe": (split(pretokenizer.LLAMA3), False),
        "llama-bpe": (split(pretokenizer.LLAMA3), True),
        "unknown": (split(r"[a-z]+|\s+"), False),
    }
    folders = [model_maker(tmp_path / name, *how) for name, how in wanted.items()]
    call = partial(convert_each, folders, tmp_path)
    path = [converter.fetch(converter_home)]
    *errors, unknown = child.run(call, holding=tmp_path, limit_s=300, path=path).result
    assert errors == ["", "", "", ""]
    assert "llama.cpp has no name for the way this tokenizer splits text" in unknown
    assert "[a-z]+" in unknown
    texts = [*strings.test_strings(200), "<|im_start|>user\n12  34<|im_end|>\n"]
    for folder in folders[:-1]:
        file = tmp_path / f"{folder.name}.gguf"
        assert gguf_header.read(file).keys["tokenizer.ggml.pre"] == folder.name
        tokenizer = AutoTokenizer.from_pretrained(folder)
        expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        assert child.run(partial(token_ids, file, texts), holding=file, limit_s=60).result == expected
    assert len(texts) == 201
