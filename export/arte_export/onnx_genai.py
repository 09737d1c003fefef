"""A model folder to an ONNX folder for onnxruntime-genai, written by its own model builder in a child process.

The builder writes for the CPU, with a key-value cache. Where its folder is not what the name of the precision promises,
or is not what its own runtime reads as transformers does, that is mended here: the graph in onnx_graph.py, tokenizer
and settings in genai_files.py.
"""

import difflib
import errno
import importlib.util
import os
import shutil
import traceback
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from arte_export import child, model_folder
from arte_export.errors import BadModel, ExportError, MissingExtra

LIMIT_S = 4 * 3600.0
OTHER_BYTES = 64 << 20  # graph, tokenizer, rotary tables
STEPS = 4


class Precision(NamedTuple):
    """How the weights are stored. Inputs, outputs and the cache are float32 in all: the CPU computes in it.

    `bytes_per_weight` of the finished file, scales included, and `built_bytes_per_weight` of what the builder leaves
    beside it until it is done, without the embedding; both only size the disk check.
    """

    name: str
    builder_precision: Literal["fp32", "int8", "int4"]
    bytes_per_weight: float
    built_bytes_per_weight: float
    options: tuple[str, ...]


# Blocks of 32 weights share one float32 scale: 8 + 1 or 4 + 1 bits a weight. In 4-bit files the output matrix and the
# layers that lose most (llama.cpp's choice for its _M files: the first and last eighth, and every third between) have
# 8 bits: all at 4 bits, SmolLM2-135M loses twice as much (mean KL divergence 0.41 nats against 0.24).
_MIXED = "matmul_mixed_precision=last_matmul:int8,mixed_layers:int8"
# The builder shares a tied embedding only where it can quantise it; onnx_graph does that for all.
_SEPARATE = "shared_embeddings=false"
# A cache that holds no more than a sliding window is not understood by plain onnxruntime, which starts with none.
ALWAYS = ("windowed_kv_cache=false", "hf_token=false")  # no token: nothing is fetched

PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("fp32", "fp32", 4.0, 0.0, ()),
        # the builder's own fp16 cannot be run on a CPU, and its half-precision arithmetic would be slower
        Precision("fp16", "fp32", 2.0, 4.0, ()),
        Precision("int8", "int8", 1.125, 1.125, (_SEPARATE,)),
        Precision("int4", "int4", 1.0, 1.0, (_SEPARATE, _MIXED)),
    )
}

HEAD_MULTIPLE = 16
ARCHITECTURES = (
    "Ernie4_5ForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "GemmaForCausalLM", "GraniteForCausalLM",
    "HunYuanDenseV1ForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "NemotronForCausalLM",
    "Phi3ForCausalLM", "PhiForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "SmolLM3ForCausalLM",
)  # fmt: skip
"""The dense text decoders among those of builder 0.18 that need no code from the model folder."""


def export(folder: Path, out: Path, precision: str, progress: child.Progress | None = None) -> Path:
    """Writes the model of `folder` as the ONNX folder `out`, whole or not at all; one that is there is replaced.

    Raises BadModel (folder, architecture or tokenizer), ExportError (unknown precision, too little disk space),
    MissingExtra, ChildDied.
    """
    wanted = _precision(precision)
    require()
    weights = model_folder.inspect(folder)
    embedding = _check_architecture(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.parent / f".{out.name}.partial"
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    _check_space(out, wanted, weights.parameters, embedding)
    work.mkdir()
    try:
        call = partial(_write, folder.resolve(), work.resolve(), wanted.name)
        child.run(call, holding=folder, limit_s=LIMIT_S, progress=progress)
        if out.exists():
            os.replace(out, work / "replaced")
        os.replace(work / "onnx", out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out


def require() -> None:
    """Raises MissingExtra where the builder or a library that it needs is not installed. Loads nothing."""
    for module in ("onnxruntime_genai", "onnxruntime", "onnx_ir"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(module.replace("_", "-"), "onnx", "Writing ONNX files")


def _precision(name: str) -> Precision:
    if name.lower() in PRECISIONS:
        return PRECISIONS[name.lower()]
    nearest = difflib.get_close_matches(name.lower(), PRECISIONS, n=2, cutoff=0.4)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
    raise ExportError(f"no ONNX precision is called {name!r}{hint} (known: {', '.join(PRECISIONS)})")


def _check_architecture(folder: Path) -> int:
    """How many weights the embedding has. Raises BadModel where the builder or the runtime cannot take the model."""
    file = folder / "config.json"
    config = model_folder.read_json(file, "a model folder has its architecture there")
    name = config["architectures"][0]
    if name not in ARCHITECTURES:
        nearest = difflib.get_close_matches(name, ARCHITECTURES, n=3, cutoff=0.4)
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        raise BadModel(
            f"{file}: onnxruntime-genai's builder does not write {name}{hint} (known: {', '.join(ARCHITECTURES)}); "
            "GGUF knows more architectures"
        )
    hidden, heads = int(config.get("hidden_size", 0)), int(config.get("num_attention_heads", 0)) or 1
    head = int(config.get("head_dim") or hidden // heads)
    if head % HEAD_MULTIPLE:
        raise BadModel(
            f"{file}: attention heads of {head} numbers (head_dim, or hidden_size / num_attention_heads); "
            f"onnxruntime's GroupQueryAttention takes multiples of {HEAD_MULTIPLE}. GGUF and onnx-optimum take others"
        )
    return int(config.get("vocab_size", 0)) * hidden


def _check_space(out: Path, precision: Precision, parameters: int, embedding: int) -> None:
    needed = int(parameters * (precision.bytes_per_weight + precision.built_bytes_per_weight)) + OTHER_BYTES
    if precision.builder_precision != "fp32":
        needed += 4 * embedding  # the builder leaves it in float32
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise ExportError(
            f"{out.parent}: {free / 1e9:.3g} GB free, about {needed / 1e9:.3g} GB needed to write {out.name} in "
            f"{precision.name}; free some space or choose another folder"
        )


def _write(folder: Path, work: Path, name: str) -> None:
    """In the child: builds below `work`, and leaves the finished folder as `work`/onnx."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
    precision = PRECISIONS[name]
    built, out = work / "built", work / "onnx"
    try:
        _build(folder, built, work / "cache", precision)
        child.tell(1, STEPS)

        from arte_export import genai_files, onnx_graph

        out.mkdir()
        onnx_graph.finish(built, out, precision.name)
        child.tell(2, STEPS)
        genai_files.write(folder, built, out)
        child.tell(3, STEPS)
        genai_files.check(folder, out)
        child.tell(4, STEPS)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ExportError(f"{work.parent}: the disk is full; free some space and run again") from None
        raise


def _build(folder: Path, built: Path, cache: Path, precision: Precision) -> None:
    from onnxruntime_genai.models import builder

    source, target, level = str(folder), str(built), precision.builder_precision
    try:
        chosen = [*ALWAYS, *precision.options]
        options: dict[str, Any] = builder.parse_extra_options("", source, target, level, "cpu", str(cache), chosen)
        _spell_out(options["hf_details"]["hf_config"])
        builder.create_model("", source, target, level, "cpu", str(cache), **options)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise _failure(folder, error) from None
    except ExportError:
        raise
    except Exception as error:  # whatever a builder stumbles over lies in the folder that it was given
        raise _failure(folder, error) from None


def _spell_out(config: Any) -> None:
    """Gives builder 0.18 what it looks for in transformers 5's configurations, and would else do without silently.

    Rotary settings nested by layer type (Gemma 3): it wants them flat, with the local base beside. A window on all
    layers (Mistral, Phi 3): it wants the layers listed, and without the list takes them all as global. The epsilon of
    norms that are no RMS norms (Phi, Nemotron): it knows one name. Raises BadModel for what it would write wrongly.
    """
    nested = getattr(config, "rope_parameters", None)
    if isinstance(nested, dict) and set(nested) == {"full_attention", "sliding_attention"}:
        if nested["full_attention"]["rope_type"] != "default":
            raise BadModel(
                f"config.json: rotary scaling {nested['full_attention']['rope_type']!r} on the global layers alone; "
                "onnxruntime-genai's builder would scale the local ones too. GGUF does it right"
            )
        config.rope_parameters = dict(nested["full_attention"])
        config.rope_theta = nested["full_attention"]["rope_theta"]
        config.rope_local_base_freq = nested["sliding_attention"]["rope_theta"]
    window = getattr(config, "sliding_window", None)
    if window is not None and getattr(config, "layer_types", None) is None:
        config.layer_types = ["sliding_attention"] * config.num_hidden_layers
    if not hasattr(config, "rms_norm_eps"):
        config.rms_norm_eps = getattr(config, "layer_norm_eps", getattr(config, "norm_eps", 1e-6))


def _failure(folder: Path, error: Exception) -> BadModel:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return BadModel(
        f"{folder}: onnxruntime-genai's builder failed: {type(error).__name__}: {error} ({Path(where.filename).name}, "
        f"line {where.lineno}). Likely cause: config.json, weights and tokenizer of this folder do not belong "
        "together, or a variant of the architecture that the builder does not know"
    )
