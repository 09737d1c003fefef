"""Speed and memory of making and asking device files: python benchmarks/files.py [export|answers]

export    a model folder to one q4_k_m GGUF file: whole wall time, and the most memory that the converting and the
          quantising process held, against the size of the weights. The converter is fetched before.
answers   answers a second of one q4_k_m file to the starter task's problems: llama-cpp-python's own completion, one
          prompt at a time (as it comes: half of the cores decode; and with all of them, as ours has), and ours, in
          parallel sequences that share their prefix. Sides take turns.

Both on SmolLM2-135M-Instruct. The last line is JSON with medians of three rounds.
"""

import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from arte_export import child, converter, generate, gguf, quantizer, runtime, schemes
from arte_export.metadata import Metadata

from arte import models, tasks
from arte.generation.chat import chat_text
from arte.quiet import quiet
from arte.recipe import Model, Task

ROUNDS = 3
PROMPTS, MAX_TOKENS = 64, 64


def export(folder: Path) -> dict[str, Any]:
    """Seconds, and bytes of memory over bytes of weights."""
    seconds, home = [], models.arte_home()
    converter.fetch(home)
    described = Metadata.named("SmolLM2-135M-Instruct", 134_515_008)
    with TemporaryDirectory() as scratch:
        out = Path(scratch)
        for count in range(ROUNDS):
            start = time.perf_counter()
            gguf.export(folder, out / str(count), ["q4_k_m"], "SmolLM2-135M-Instruct", home)
            seconds.append(time.perf_counter() - start)
        source = out / "source.gguf"
        converting = converter.convert(folder, source, "bf16", described, home)
        wanted = [quantizer.Wanted(out / "q4.gguf", schemes.load("q4_k_m"), None)]
        quantising = child.run(partial(quantizer.write_all, source, wanted), holding=source, limit_s=600).peak_rss_bytes
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return {
        "seconds": statistics.median(seconds),
        "convert_peak_over_weights": converting / weights,
        "quantise_peak_over_weights": quantising / weights,
    }


def answers(folder: Path) -> dict[str, Any]:
    """Answers a second of each side, and the ratios to ours."""
    from transformers import AutoTokenizer

    task = tasks.load("starter")
    items = task.splits(Task(name="starter", test=PROMPTS), 0).test[:PROMPTS]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = [chat_text(tokenizer, task.student_prompt(item.question)) for item in items]
    rates: dict[str, list[float]] = {"alone": [], "alone_all_cores": [], "batched": []}
    with TemporaryDirectory() as scratch:
        [file] = gguf.export(folder, Path(scratch), ["q4_k_m"], "SmolLM2-135M-Instruct", models.arte_home())
        for _ in range(ROUNDS):
            rates["alone"].append(PROMPTS / _alone(file, prompts, None))
            rates["alone_all_cores"].append(PROMPTS / _alone(file, prompts, runtime.cores()))
            rates["batched"].append(PROMPTS / generate.answers(file, prompts, MAX_TOKENS).seconds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return medians | {f"ratio_to_{name}": medians["batched"] / medians[name] for name in ("alone", "alone_all_cores")}


def _alone(file: Path, prompts: list[str], threads: int | None) -> float:
    """Seconds of llama-cpp-python's completion, loading left out."""
    from llama_cpp import Llama

    model = Llama(str(file), n_ctx=1024, n_threads=threads, verbose=False)
    start = time.perf_counter()
    for prompt in prompts:
        model.create_completion(prompt, max_tokens=MAX_TOKENS, temperature=0)
    return time.perf_counter() - start


def main() -> None:
    """Runs the benchmarks named on the command line, or both."""
    quiet()
    known = {"export": export, "answers": answers}
    folder = models.resolve(Model(name="smollm2-135m-instruct")).path
    found = {}
    for name in sys.argv[1:] or known:
        found[name] = known[name](folder)
        sys.stdout.write(f"{name}: {found[name]}\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
