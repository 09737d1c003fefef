import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arte_export import adapter, lora, model_folder, rounding, safetensors_file
from arte_export.errors import BadModel, ExportError
from safetensors.torch import load_file, save_file

from tests.export.lora_models import LINEAR, logits, make_base, train


@pytest.fixture(scope="module")
def base(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "base", tiny_model)


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(base, tmp_path_factory.mktemp("adapter") / "adapter", target_modules=LINEAR)


@pytest.mark.parametrize(
    ("base_settings", "settings", "adapted"),
    [
        # 7 matrices in each of 2 layers
        ({}, {"target_modules": LINEAR}, 14),
        ({}, {"target_modules": LINEAR, "use_rslora": True}, 14),
        ({}, {"target_modules": LINEAR, "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 7}, "alpha_pattern": {"layers.0.self_attn.[kv]_proj": 9}}, 14),  # noqa: E501
        # q, k, v and o have biases
        ({}, {"target_modules": ["q_proj"], "bias": "all"}, 2 + 8),
        ({}, {"target_modules": ["q_proj"], "bias": "lora_only"}, 2 + 2),
        ({}, {"target_modules": LINEAR, "use_dora": True}, 14),
        ({}, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "model.norm"]}, 2 + 2),
        ({}, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "embed_tokens"]}, 2 + 2),
        ({}, {"target_modules": ["embed_tokens", "lm_head", "v_proj"]}, 2 + 2),
        ({"tie_word_embeddings": True}, {"target_modules": ["lm_head", "v_proj"]}, 2 + 1),
        ({"tie_word_embeddings": True}, {"target_modules": ["embed_tokens", "v_proj"]}, 2 + 1),
        ({"tie_word_embeddings": True}, {"target_modules": ["v_proj"], "modules_to_save": ["lm_head"]}, 2 + 1),
        ({"tie_word_embeddings": True}, {"target_modules": ["v_proj"], "modules_to_save": ["embed_tokens"]}, 2 + 1),
        ({"tie_word_embeddings": True}, {"target_modules": ["v_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, 2 + 1),  # noqa: E501
        ({"tie_word_embeddings": True}, {"target_modules": ["v_proj"], "resized_to": 360}, 2 + 1),
        ({}, {"target_modules": ["v_proj"], "resized_to": 360, "modules_to_save": ["embed_tokens", "lm_head"]}, 2 + 2),
        ({"kind": "gpt2"}, {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}, 8),
        ({"kind": "gpt2"}, {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True, "bias": "all"}, 2 + 12 + 1),  # noqa: E501
    ],
    ids=[
        "plain", "rslora", "patterns", "all biases", "own biases", "dora", "head and norm saved", "both saved",
        "embedding", "tied, head", "tied, embedding", "tied, head saved", "tied, embedding saved", "tied, kept",
        "tied, resized", "resized", "transposed", "transposed dora",
    ],
)  # fmt: skip
def test_the_merged_model_is_what_was_trained(
    tiny_model: Path, tmp_path: Path, base_settings: dict[str, Any], settings: dict[str, Any], adapted: int
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = make_base(tmp_path / "base", tiny_model, **base_settings)
    trained = train(base, tmp_path / "adapter", **settings)
    merged = adapter.merge(trained, base, tmp_path / "out")

    assert (merged.adapted, merged.dtype) == (adapted, "F32")
    assert merged.largest_deviation <= 0.501
    started = AutoModelForCausalLM.from_pretrained(base)
    if "resized_to" in settings:
        started.resize_token_embeddings(settings["resized_to"])
    # PEFT's forward pass, with A and B beside W: not its merge, which moves tied matrices together
    expected = logits(PeftModel.from_pretrained(started, trained))
    written, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert (logits(AutoModelForCausalLM.from_pretrained(base)) - expected[..., :353]).abs().max() > 0.1
    torch.testing.assert_close(logits(written), expected, rtol=1e-4, atol=1e-4)
    model_folder.inspect(tmp_path / "out")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_each_number_is_rounded_once(tiny_model: Path, tmp_path: Path, dtype: str) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    base = make_base(tmp_path / "base", tiny_model, dtype=dtype, tie_word_embeddings=True)
    trained = train(base, tmp_path / "adapter", target_modules=LINEAR, bias="all")
    merged = adapter.merge(trained, base, tmp_path / "out")
    # embedding, 2 × (7 matrices, 4 biases, 2 norms), last norm
    assert (merged.checked, merged.adapted) == (1 + 2 * 13 + 1, 2 * 7 + 2 * 4)
    assert merged.dtype == {"bfloat16": "BF16", "float16": "F16"}[dtype]

    started = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
    theirs = PeftModel.from_pretrained(started, trained).merge_and_unload().state_dict()
    ours = load_file(tmp_path / "out" / "model.safetensors")
    assert all(tensor.dtype == getattr(torch, dtype) for tensor in ours.values())
    different = {name for name in ours if not torch.equal(ours[name], theirs[name].to(getattr(torch, dtype)))}
    assert not different


def test_a_merge_by_hand(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    base = make_base(tmp_path / "base", tiny_model, num_hidden_layers=1)
    weights = load_file(base / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    folder = tmp_path / "adapter"
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 3, "base_model_name_or_path": "someone/base"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    a, b = torch.zeros(1, 32), torch.zeros(48, 1)
    a[0, 5], b[7, 0] = 2.0, -0.5
    prefix = f"base_model.model.{name.removesuffix('.weight')}"
    save_file({f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}, folder / "adapter_model.safetensors")

    assert adapter.base_name(folder) == "someone/base"
    # embedding, head, last norm, and in the layer 7 matrices, 4 biases, 2 norms; float64 rounded to float32
    merged = adapter.merge(folder, base, tmp_path / "out")
    assert (merged.checked, merged.adapted, merged.dtype) == (3 + 13, 1, "F32")
    difference = load_file(tmp_path / "out" / "model.safetensors")[name] - weights[name]
    # (3 / 1) · −0.5 · 2 = −3 in the one place, up to float32 rounding
    assert difference.nonzero().tolist() == [[7, 5]]
    assert difference[7, 5].item() == pytest.approx(-3.0, abs=1e-6)


def test_a_sharded_base_stays_sharded(base: Path, trained: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    shards = Path(shutil.copytree(base, tmp_path / "shards"))
    (shards / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(shards, max_shard_size="60KB")
    names = [file.name for file in model_folder.weight_files(shards)]
    assert len(names) >= 3
    whole = adapter.merge(trained, base, tmp_path / "whole")
    assert adapter.merge(trained, shards, tmp_path / "parts") == whole
    assert [file.name for file in model_folder.weight_files(tmp_path / "parts")] == names
    together = {name: value for file in names for name, value in load_file(tmp_path / "parts" / file).items()}
    one = load_file(tmp_path / "whole" / "model.safetensors")
    assert together.keys() == one.keys()
    assert all(together[name].equal(one[name]) for name in one)
    model_folder.inspect(tmp_path / "parts")


def test_the_tokenizer_of_the_training_is_kept(base: Path, trained: Path, tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    own = Path(shutil.copytree(trained, tmp_path / "own"))
    shutil.copy(base / "tokenizer.json", own / "tokenizer.json")
    (own / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    (own / "chat_template.jinja").write_text(template)
    adapter.merge(own, base, tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == template
    assert "<|endoftext|>" in (tmp_path / "out" / "tokenizer_config.json").read_text()

    adapter.merge(trained, base, tmp_path / "without")
    for name in ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "without" / name).read_bytes() == (base / name).read_bytes()


UP = "model.layers.0.mlp.up_proj.weight"
SABOTAGE: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = {
    "forgotten": (lambda new, old: new.update(old), "the adapter was not merged into it"),
    "forgotten in one": (lambda new, old: new.update({UP: old[UP]}), f"{UP} is not .*was not merged into it"),
    "merged twice": (
        lambda new, old: new.update({UP: 2 * new[UP] - old[UP]}),
        f"{UP} is not .*as if the adapter had been merged into it twice",
    ),
    "scaled": (lambda new, _: new.update({UP: new[UP] * 1.05}), rf"{UP} is not what base and adapter give \("),
    "one number moved": (lambda new, _: new[UP][3].mul_(1 + 1e-5), f"{UP} is not what base and adapter give"),
    "not a number": (lambda new, _: new[UP][3, 3].fill_(float("nan")), f"{UP} is not what base and adapter give"),
    "another touched": (lambda new, _: new["model.norm.weight"][0].add_(1e-3), "model.norm.weight is not the base's"),
    "left out": (lambda new, _: new.pop("model.norm.weight"), "model.norm.weight is missing"),
    "put in": (lambda new, old: new.update(x=old[UP].clone()), "x is of no tensor of the base"),
    "another precision": (lambda new, _: new.update({UP: new[UP].half()}), rf"{UP} is F16 \[48, 32\]; expected F32"),
}


@pytest.mark.parametrize("kind", SABOTAGE)
def test_a_wrong_merge_is_caught_and_named(base: Path, trained: Path, tmp_path: Path, kind: str) -> None:
    from safetensors.torch import load_file, save_file

    adapter.merge(trained, base, tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    new, old = load_file(file), load_file(base / "model.safetensors")
    change, words = SABOTAGE[kind]
    change(new, old)
    save_file({name: tensor.contiguous() for name, tensor in new.items()}, file)
    with pytest.raises(BadModel, match=words):
        adapter.check(trained, base, tmp_path / "out")


def test_an_untied_model_that_says_it_is_tied_is_caught(tiny_model: Path, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", tiny_model, tie_word_embeddings=True)
    trained = train(base, tmp_path / "adapter", target_modules=["lm_head"])
    adapter.merge(trained, base, tmp_path / "out")
    file = tmp_path / "out" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tie_word_embeddings": True}))
    with pytest.raises(BadModel, match="says tie_word_embeddings=True, by base and adapter it is False"):
        adapter.check(trained, base, tmp_path / "out")


def setting(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def cut(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def half_a_pair(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    del weights[f"base_model.model.{UP.removesuffix('.weight')}.lora_B.weight"]
    save_file(weights, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "adapter_config.json").unlink(), "adapter_config.json: missing"),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "expected a JSON object"),
        (setting(r="many"), "adapter_config.json: r: "),
        (setting(peft_type="LOHA"), "peft_type is LOHA; only LORA is merged here"),
        (setting(init_lora_weights="pissa"), "'pissa': such an adapter belongs to an altered base"),
        (setting(lora_bias=True), "lora_bias is True, which is not merged here; merge with PEFT"),
        (setting(trainable_token_indices=[1]), r"trainable_token_indices is \[1\], which is not merged here"),
        (setting(target_parameters=["experts"]), "target_parameters"),
        (setting(alora_invocation_tokens=[1]), "alora_invocation_tokens"),
        (setting(r=8), "has rank 4, adapter_config.json says 8"),
        (setting(use_dora=True), "it holds only"),
        (setting(rank_pattern={"(": 4}), "pattern '\\(' is no regular expression"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "adapter_model.safetensors: missing; save"),
        (pickled, "pickled weights .* are never loaded"),
        (cut, "broken safetensors file"),
        (half_a_pair, f"of {UP} it holds only"),
    ],
)
def test_what_is_no_lora_is_refused(
    base: Path, trained: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    broken = Path(shutil.copytree(trained, tmp_path / "adapter"))
    spoil(broken)
    with pytest.raises(BadModel, match=words):
        adapter.merge(broken, base, tmp_path / "out")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter"]


def test_another_base_is_named(base: Path, trained: Path, tiny_model: Path, tmp_path: Path) -> None:
    wider = make_base(tmp_path / "wider", tiny_model, hidden_size=64)
    with pytest.raises(BadModel, match=r"give a matrix of \[32, 48\], the base's is \[64, 48\].*another base"):
        adapter.merge(trained, wider, tmp_path / "out")
    other = make_base(tmp_path / "other", tiny_model, kind="gpt2")
    with pytest.raises(BadModel, match=rf"14 of its tensors are not in the base.*It was trained on {base}; give that"):
        adapter.merge(trained, other, tmp_path / "out")
    saved = train(base, tmp_path / "saved", target_modules=["q_proj"], modules_to_save=["model.norm"])
    with pytest.raises(BadModel, match=r"model\.norm\.weight is \[32\] there, \[64\] in the base"):
        adapter.merge(saved, wider, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    setting(base_model_name_or_path=None)(saved)
    with pytest.raises(BadModel, match="names no base model"):
        adapter.base_name(saved)


def test_half_of_a_resized_vocabulary_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", tiny_model, tie_word_embeddings=True)
    trained = train(base, tmp_path / "adapter", 360, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    from safetensors.torch import load_file, save_file

    kept = load_file(trained / "adapter_model.safetensors")
    kept.pop("base_model.model.lm_head.weight", None)
    save_file(kept, trained / "adapter_model.safetensors")
    with pytest.raises(BadModel, match="would have 353 and 360 rows: the vocabulary was resized, but only one"):
        adapter.merge(trained, base, tmp_path / "out")


def test_what_is_there_is_not_overwritten(base: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError, match="exists already"):
        adapter.merge(trained, base, tmp_path / "out")


def test_a_killed_merge_leaves_nothing_under_the_name(tiny_model: Path, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", tiny_model, hidden_size=512, intermediate_size=4096, num_hidden_layers=3)
    trained = train(base, tmp_path / "adapter", target_modules=LINEAR)
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    code = (
        "import sys; from pathlib import Path; from arte_export import adapter; adapter.merge(*map(Path, sys.argv[1:]))"
    )
    export = Path(adapter.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", code, trained, base, out], env={**os.environ, "PYTHONPATH": str(export)}
    )
    until = time.monotonic() + 60
    while not (partial / "model.safetensors").is_file() and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert partial.is_dir()
    assert not out.exists()
    assert adapter.merge(trained, base, out).adapted == 21
    assert not partial.exists()


def test_one_tensor_is_held_at_a_time(tiny_model: Path, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from arte_export import adapter, child\n"
    sizes, paths = [], []
    for layers in (1, 8):
        wide: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": layers}
        base = make_base(tmp_path / f"base-{layers}", tiny_model, **wide)
        paths += [train(base, tmp_path / f"adapter-{layers}", target_modules=LINEAR), base, tmp_path / f"out-{layers}"]
        sizes.append((base / "model.safetensors").stat().st_size)
        start = 3 * len(sizes) - 2
        code += f"adapter.merge(*map(Path, sys.argv[{start}:{start + 3}])); print(child._peak_rss_bytes())\n"
    export = Path(adapter.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(export), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    one, eight = map(int, done.stdout.split())
    assert sizes[1] - sizes[0] > 100e6
    assert eight - one < 50e6


def test_a_unit_of_the_last_place() -> None:
    import torch

    def units(stored: float, wanted: float, dtype: str) -> float:
        return rounding.units(torch.tensor([stored]).double(), torch.tensor([wanted]).double(), dtype, 0.0)

    # bfloat16 has 8 binary digits: 2⁻⁷ apart at 1, 2⁻¹³³ apart at and near zero; float16 2⁻¹⁰ and 2⁻²⁴
    assert units(1 + 2**-7, 1.0, "BF16") == 1.0
    assert units(2**-133, 0.0, "BF16") == 1.0
    assert units(3 + 2**-9, 3.0, "F16") == 1.0
    assert units(2**-24, 0.0, "F16") == 1.0
    assert units(1 + 2**-23, 1.0, "F32") == 1.0
    assert lora.FLOATS.keys() == rounding.DIGITS.keys() == rounding.SMALLEST.keys()
    assert lora.FLOATS.keys() < safetensors_file.DTYPE_BITS.keys()


def test_an_adapter_fits_its_own_base_and_no_other(base: Path, trained: Path, tmp_path: Path) -> None:
    adapter.require_base(trained, base)
    narrow = tmp_path / "narrow"
    shutil.copytree(base, narrow)
    tensors = load_file(narrow / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    rows = tensors[name].shape[0]
    tensors[name] = tensors[name][: rows // 2].contiguous()
    save_file(tensors, narrow / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadModel, match=rf"does not belong to the base .*up_proj.weight is \[{rows}, .*\[{rows // 2}, "):
        adapter.require_base(trained, narrow)
