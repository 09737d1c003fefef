"""A shell stand-in for llama-bench that prints its JSON, and a file to measure."""

import os
from pathlib import Path

from arte_export.measurement import Test
from arte_export.remote import Settings

TESTS = [Test(prompt_tokens=64, generated_tokens=0), Test(prompt_tokens=0, generated_tokens=16)]
SETTINGS = Settings(tests=TESTS, repeats=3, threads=1, limit_s=60)

PROGRAM = r"""#!/bin/sh
# samples of 0.25, 0.5 and 1 s
while [ $# -gt 0 ]; do
  case $1 in
    -m) file=$2 ;;
    -p) p=$2 ;;
    -n) n=$2 ;;
    -d) d=$2 ;;
  esac
  shift
done
[ -s "$file" ] || { echo "no model $file" >&2; exit 1; }
BEFORE
echo '[ {"model_filename": "'$file'", "model_type": "llama 1M Q8_0", "model_size": 1000, "model_n_params": 900,'
echo '"n_threads": 1, "n_prompt": '$p', "n_gen": '$n', "n_depth": '${d:-0}','
echo '"avg_ns": 583333333, "stddev_ns": 381881308,'
echo '"avg_ts": 1.0, "stddev_ts": 1.0, "a_newer_field": true,'
echo '"samples_ns": [ 250000000, 500000000, 1000000000 ], "samples_ts": [ 4, 2, 1 ]} ]'
"""


def program(place: Path, before: str = "sleep 0.3") -> Path:
    """Writes the stand-in; `before` is what it does first."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(PROGRAM.replace("BEFORE", before))
    place.chmod(0o755)
    return place


def left(folder: Path) -> list[str]:
    """What is left below a folder of the other machine."""
    return sorted(name for name in os.listdir(folder) if name.startswith("arte-bench-"))
