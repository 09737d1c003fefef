"""A shell stand-in for llama-bench that prints its JSON, and what is left on a machine."""

import os
import time
from pathlib import Path

from arte_export.measurement import Test
from arte_export.remote import Settings

TESTS = [
    Test(prompt_tokens=64, generated_tokens=0),
    Test(prompt_tokens=0, generated_tokens=16),
    Test(prompt_tokens=0, generated_tokens=16, depth_tokens=32),
]
SETTINGS = Settings(tests=TESTS, repeats=3, threads=1, limit_s=60)
ONE_TEST = Settings(tests=TESTS[:1], repeats=3, threads=1, limit_s=60)

PROGRAM = r"""#!/bin/sh
# samples of 0.25, 0.5 and 1 s; of 0.05 s for one repeat
n=0 d=0 r=5
while [ $# -gt 0 ]; do
  case $1 in
    -m) file=$2 ;;
    -t) t=$2 ;;
    -p) p=$2 ;;
    -n) n=$2 ;;
    -d) d=$2 ;;
    -r) r=$2 ;;
  esac
  shift
done
[ -s "$file" ] || { echo "no model $file" >&2; exit 1; }
BEFORE
samples='250000000, 500000000, 1000000000'
[ "$r" = 1 ] && samples=50000000
echo '[ {"build_commit": "abc1234", "build_number": 77, "model_filename": "'$file'", "model_type": "llama 1M Q8_0",'
echo '"model_size": 1000, "model_n_params": 900, "n_threads": '$t', "n_prompt": '$p', "n_gen": '$n', "n_depth": '$d','
echo '"avg_ns": 583333333, "stddev_ns": 381881308, "avg_ts": 1.0, "stddev_ts": 1.0, "a_newer_field": true,'
echo '"samples_ns": [ '$samples' ], "samples_ts": [ 4, 2, 1 ]} ]'
"""


def program(place: Path, before: str = "sleep 0.02") -> Path:
    """Writes the stand-in; `before` is what it does first."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(PROGRAM.replace("BEFORE", before))
    place.chmod(0o755)
    return place


def left(folder: Path, within_s: float = 0.0) -> list[str]:
    """What is left below a folder of the other machine, once it is empty or so many seconds have passed."""
    deadline = time.monotonic() + within_s
    while (found := sorted(os.listdir(folder))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
