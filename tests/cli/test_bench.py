"""`arte bench` and `arte recommend` as users type them, on the files of the smoke run."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli import command
from tests.cli.command import SmokeRun

QUICK = ("--prompt", "32", "--generate", "8", "--repeats", "2", "--wait", "0", "--threads", "1")


@pytest.fixture(scope="module")
def files(smoke_run: SmokeRun) -> list[Path]:
    found = sorted((smoke_run.folder / "export").glob("*.gguf"))
    assert len(found) == 2, smoke_run.first
    return found


@pytest.mark.slow
def test_a_budget_that_is_held_and_one_that_is_missed(files: list[Path], tmp_path: Path) -> None:
    held = command.run(
        "bench", *map(str, files), *QUICK, "--task", "starter", "--prompts", "2", "--depth", "32",
        "--budget", "tg>=0.001 size<=1GB accuracy>=-100", "--out", str(tmp_path / "kept"),
    )  # fmt: skip
    assert held.code == 0, held
    assert "TTFT: from a prompt that is already tokenized" in held.out
    for file in files:
        assert f"this-machine, {file.name}: pass" in held.out
        assert f"{file.name}: tg8 @ d32 " in held.out
        assert f"{file.name}: 2 task prompts, one at a time: " in held.out
    kept = [json.loads(line) for line in (tmp_path / "kept" / "measurements.jsonl").read_text().splitlines()]
    assert [each["file"] for each in kept] == [file.name for file in files]
    verdicts = json.loads((tmp_path / "kept" / "verdicts.json").read_text())
    assert [(each["result"], len(each["lines"])) for each in verdicts] == [("pass", 3)] * 2

    missed = command.run("bench", str(files[0]), *QUICK, "--budget", "tg>=100000000 size<=1GB")
    assert missed.code == 2, missed
    assert f"this-machine, {files[0].name}: FAIL" in missed.out
    assert "misses >= 1e+08" in missed.out

    recommended = command.run("recommend", str(tmp_path / "kept"), "--budget", "size<=1GB")
    assert recommended.code == 0, recommended
    smallest = min(files, key=lambda file: file.stat().st_size)
    assert recommended.out.startswith(f"{smallest.name} (")


@pytest.mark.slow
def test_another_device_is_estimated_and_never_passed(files: list[Path]) -> None:
    ended = command.run("bench", str(files[0]), *QUICK, "--device", "raspberry-pi-5")
    assert ended.code == 0, ended
    assert f"raspberry-pi-5, {files[0].name}: estimate" in ended.out
    assert "likely hold" in ended.out
    assert ": pass" not in ended.out


@pytest.mark.slow
def test_shapes_of_llama_bench(files: list[Path]) -> None:
    ended = command.run("bench", str(files[0]), *QUICK, "--format", "llama-bench")
    assert ended.code == 0, ended
    rows = json.loads(ended.out)
    assert [(row["n_prompt"], row["n_gen"], len(row["samples_ns"])) for row in rows] == [(32, 0, 2), (0, 8, 2)]
    assert {"avg_ts", "stddev_ts", "avg_ns", "model_type", "n_threads", "test_time"} <= set(rows[0])


@pytest.mark.slow
def test_two_files_in_turn(files: list[Path]) -> None:
    ended = command.run("bench", *map(str, files), *QUICK, "--rounds", "2", "--vs")
    assert ended.code == 0, ended
    assert f"{files[0].name} against {files[1].name}, in turn" in ended.out
    assert ended.out.count(" times (") == 3


@pytest.mark.slow
def test_a_profile_of_ones_own(files: list[Path], tmp_path: Path) -> None:
    profile = {
        "name": "board", "about": "a board of mine", "memory_bandwidth_bytes_s": 1e12, "budget": {"tg_tok_s": 1e9},
        "sources": {"memory_bandwidth_bytes_s": "its label", "budget": "my own"},
    }  # fmt: skip
    (tmp_path / "board.yaml").write_text(yaml.safe_dump(profile))
    assert "board " in command.done("devices", "--profiles", str(tmp_path)).out
    ended = command.run("bench", str(files[0]), *QUICK, "--profiles", str(tmp_path), "--device", "board")
    assert (ended.code, "board, " in ended.out) == (0, True), ended
    assert "would likely miss >= 1e+09" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x.gguf", "--budget", "tg<=15"], "the budget does not parse:\n  tg<=15\n    ^\nfound '<=' after tg"),
        (["x.gguf"], "x.gguf: no such file; expected a .gguf file, an ONNX folder or a model folder"),
        (["x.gguf", "--device", "pixel8"], "no device is called 'pixel8'; did you mean pixel-8?"),
        (["x.gguf", "--vs"], "--vs compares two files; found 1"),
        (["x.gguf", "--on", "pi"], "--on 'pi' names no machine; expected ssh:HOST"),
        (["x.gguf", "--on", "ssh:-x"], "'-x' is no host for ssh"),
    ],
)
def test_bad_input(arguments: list[str], said: str) -> None:
    ended = command.run("bench", *arguments)
    assert ended.code == 1
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_nothing_to_recommend(tmp_path: Path) -> None:
    ended = command.run("recommend", str(tmp_path))
    assert ended.code == 1
    assert "holds no measurements.jsonl; expected a run folder with its bench stage done" in ended.err
