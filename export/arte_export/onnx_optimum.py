"""The target onnx-optimum: 8-bit ONNX in the layout that ORTModelForCausalLM and transformers.js load.

optimum-onnx traces the model, in an environment of its own (environment.py), and onnx_int8.py rounds the weights. The
folder holds config.json, generation_config.json, the tokenizer in the terms of transformers 4, chat_template.jinja and
onnx/model_quantized.onnx: one decoder that takes and gives the keys and values of the past, so that the first step is
the same graph with an empty past.

Python, with optimum-onnx 0.1:

    model = ORTModelForCausalLM.from_pretrained(folder, subfolder="onnx", file_name="model_quantized.onnx")
    tokenizer = AutoTokenizer.from_pretrained(folder)

JavaScript, with @huggingface/transformers 4: a folder below `env.localModelPath`, dtype "q8", which it maps to the file
name (config.json says so too, under "transformers.js_config"):

    env.localModelPath = "/folder/above";
    const model = await AutoModelForCausalLM.from_pretrained("name", {dtype: "q8", local_files_only: true});
"""

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from arte_export import child, environment, model_folder, optimum_env, transformers4
from arte_export.answers import Answers
from arte_export.errors import ExportError
from arte_export.runtime import cores
from arte_export.vocabulary import Conversation, Vocabulary

LIMIT_S = 4 * 3600.0
PRECISIONS = ("int8",)
GRAPH_BYTES = 64 << 20  # nodes and the small constants of the traced graph, with the tokenizer


def export(
    folder: Path, out: Path, home: Path, precision: str = "int8", progress: child.Progress | None = None
) -> Path:
    """Writes the model as the folder `out`, whole or absent; one that is there is replaced. Gives `out`.

    `home` holds the environment. Tracing keeps several float32 copies: 3.0 GB of memory for 135M parameters.

    Raises BadModel (folder, or an architecture that optimum-onnx or transformers 4 does not know), ExportError
    (precision, environment, disk space), ChildDied.
    """
    if precision not in PRECISIONS:
        raise ExportError(
            f"onnx-optimum has no precision {precision!r} (known: {', '.join(PRECISIONS)}); the target onnx has more"
        )
    python = environment.python(home)
    weights = model_folder.inspect(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    _check_space(out.parent, weights.parameters)
    partial_out = out.with_name(f".{out.name}.partial")
    work = out.with_name(f".{out.name}.work")
    for left in (partial_out, work):
        shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        left.mkdir()
    try:
        transformers4.write(folder, partial_out)
        staged = work / "model"
        shutil.copytree(partial_out, staged)
        for file in folder.glob("*.safetensors*"):
            (staged / file.name).symlink_to(file.resolve())
        call = partial(optimum_env.export, staged.resolve(), (work / "traced").resolve(), partial_out.resolve())
        child.run(call, holding=folder, limit_s=LIMIT_S, progress=progress, python=python)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(partial_out, out)
    finally:
        for left in (partial_out, work):
            shutil.rmtree(left, ignore_errors=True)
    return out


def answers(
    folder: Path,
    home: Path,
    prompts: Sequence[str],
    max_tokens: int,
    stop: Sequence[str] = (),
    threads: int | None = None,
    parallel: int = 32,
    limit_s: float = 6 * 3600.0,
    progress: child.Progress | None = None,
) -> Answers:
    """Greedy continuations of prompts that are already rendered with the chat template, through ORTModelForCausalLM.

    A prompt is tokenised as it stands: special-token text becomes special tokens and no BOS is put in front. An answer
    ends with an end-of-generation token, a stop string, `max_tokens` tokens, or the end of the trained context.

    Raises BadModel (folder), ExportError (environment; an empty prompt, or one that leaves no room), ChildDied.
    """
    call = partial(
        optimum_env.answers, folder.resolve(), list(prompts), max_tokens, list(stop), threads or cores(), parallel
    )
    finished = child.run(
        call, holding=folder, limit_s=limit_s, progress=progress, python=environment.python(home)
    )  # fmt: skip
    return finished.result.model_copy(update={"peak_rss_bytes": finished.peak_rss_bytes})


def vocabulary(
    folder: Path, home: Path, texts: Sequence[str], conversations: Sequence[Conversation], limit_s: float = 3600.0
) -> Vocabulary:
    """What transformers 4 reads from the exported folder. Raises BadModel, ExportError (environment), ChildDied."""
    conversing = [conversation.model_dump() for conversation in conversations]
    call = partial(optimum_env.vocabulary, folder.resolve(), list(texts), conversing)  # type: ignore[arg-type]
    return child.run(call, holding=folder, limit_s=limit_s, python=environment.python(home)).result


def _check_space(out_dir: Path, parameters: int) -> None:
    needed = 6 * parameters + GRAPH_BYTES  # the traced float32 graph (a tied embedding twice) and the 8-bit one
    free = shutil.disk_usage(out_dir).free
    if free < needed:
        raise ExportError(
            f"{out_dir}: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB needed while onnx-optimum is written; "
            "free some space or choose another folder"
        )
