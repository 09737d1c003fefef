"""What the command says of itself, quickly and with nothing heavy loaded."""

import json
import re
import sys

import pytest

from tests.cli import command

COMMANDS = (
    "recipe", "plan", "export", "evaluate", "bench", "recommend", "report", "compare", "preference-check", "recipes",
    "devices", "tasks", "data", "judge", "doctor", "task",
)  # fmt: skip
HEAVY = ("torch", "transformers", "pydantic", "numpy", "datasets", "lm_eval", "matplotlib", "rich")

NO_NETWORK = """
import socket, sys
def refuse(*_arguments, **_settings):
    raise AssertionError("the network was touched")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
socket.create_connection = refuse
sys.argv = ["arte", *sys.argv[1:]]
from arte.cli import main
try:
    main()
finally:
    print("LOADED", *sorted(sys.modules), file=sys.stderr)
"""


def offline(*arguments: str) -> tuple[command.Ended, set[str]]:
    """The command in a process that refuses every connection, and the modules it had loaded at its end."""
    program = (sys.executable, "-c", NO_NETWORK)
    ended = command.run(*arguments, program=program, environment={"HF_HUB_OFFLINE": "0", "COLUMNS": "100"})
    err, _, loaded = ended.err.rpartition("LOADED ")
    return ended._replace(err=err), set(loaded.split())


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(5):
        ended = command.done("--help")
        seconds.append(ended.seconds)
    assert min(seconds) < 0.3, seconds
    listed = re.findall(r"^  ([\w-]+)  +\w", ended.out.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    ended, loaded = offline("--help")
    assert ended.code == 0
    assert "typer" in loaded
    assert sorted(loaded.intersection(HEAVY)) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    ended = command.done(name, "--help")
    assert f"Usage: arte {name} " in ended.out
    about = ended.out.partition("\n\n")[2].strip().partition("\n")[0]
    assert len(about) > 10
    options = ended.out.partition("Options:")[2]
    undescribed = [line for line in options.splitlines() if re.fullmatch(r" +--[\w-]+( [A-Z]+)?", line)]
    assert undescribed == []


@pytest.mark.parametrize(
    ("scale", "models", "stages"),
    [
        ("smoke", "tiny-taught-teacher → tiny-random-student", [" × 4 probes", "2 arms", "3 arms", "2 files"]),
        ("starter", "qwen2.5-coder-0.5b-instruct → smollm2-135m-instruct", [" × 8 probes"]),
        ("gpu", "Qwen/Qwen2.5-7B-Instruct → Qwen/Qwen2.5-0.5B", [" × 40 probes"]),
        ("paper", "meta-llama/Meta-Llama-3-70B-Instruct → google/gemma-2b", [" × 40 probes"]),
    ],
)
def test_plan_of_every_scale_without_model_or_network(scale: str, models: str, stages: list[str]) -> None:
    ended, loaded = offline("plan", "gsm8k", "--scale", scale)
    assert ended.code == 0, ended
    assert ended.err == ""
    assert "transformers" not in loaded
    said = " ".join(ended.out.split())
    assert f"gsm8k at scale {scale}: {models}" in said
    assert [words for words in stages if words not in said] == []
    names = re.findall(r"^│ (\w+) +│", ended.out, re.MULTILINE)
    assert names == ["elicit", "prefer", "align", "tailor", "distill", "evaluate", "export", "bench", "all"]
    assert re.search(r"memory [\d.]+ GiB, disk [\d.]+ GiB, money 0", said)


def test_lists() -> None:
    recipes, _ = offline("recipes")
    assert recipes.code == 0
    bbh, gsm8k = recipes.out.splitlines()
    assert bbh.startswith("bbh          BIG-Bench Hard")
    assert bbh.endswith("(starter, gpu, paper)")
    assert gsm8k.startswith("gsm8k        grade-school arithmetic")
    assert gsm8k.endswith("(smoke, starter, gpu, paper)")
    tasks, _ = offline("tasks")
    named = [line.split()[0] for line in tasks.out.splitlines()]
    assert named[:2] == ["gsm8k", "starter"]
    assert len(set(named)) == 8 + 27 + 5
    devices, _ = offline("devices")
    names = [line.split()[0] for line in devices.out.splitlines()]
    assert len(names) == len(set(names)) >= 14
    assert {"pixel-8", "raspberry-pi-5", "this-machine"} <= set(names)
    shown, _ = offline("devices", "pixel-8")
    assert '"name": "pixel-8"' in shown.out
    assert '"size_bytes": 200000000' in shown.out
    schema, _ = offline("devices", "--schema")
    assert "memory_bandwidth_bytes_s" in json.loads(schema.out)["properties"]


def test_resolved_recipe_is_shown_and_not_run() -> None:
    ended, _ = offline("recipe", "gsm8k", "--scale", "smoke", "elicit.questions=7", "--show")
    assert ended.code == 0
    assert "elicit:\n  questions: 7\n  attempts: 16.0\n" in ended.out
    assert "name: tiny-taught-teacher" in ended.out


def test_doctor_looks_and_says_what_mends_it() -> None:
    ended = command.run("doctor")
    findings = re.findall(r"^(ok |NO ) ([^:]+): (.+)$", ended.out, re.MULTILINE)
    assert len(findings) >= 8
    assert ended.code == (1 if any(mark == "NO " for mark, _, _ in findings) else 0)
    assert {"Python", "memory", "torch", "llama.cpp runs device files", "hub"} <= {name for _, name, _ in findings}
