"""The whole smoke recipe through the command line, its report recounted from the rows on disk."""

import hashlib
import html.parser
import json
import math
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arte.recipe import STAGES
from tests.cli import command
from tests.cli.command import SMOKE, SmokeRun

CONTRACT = [
    *("schema", "recipe", "scale", "task", "seed", "arte_version", "machine", "models", "stages", "data"),
    *("preference", "accuracy", "comparisons", "artefacts", "measurements", "verdicts"),
]
ARMS = ("untrained", "verified", "arte")
DONE = [
    *STAGES[: STAGES.index("distill")],
    *(f"distill/{arm}" for arm in ARMS[1:]),
    *(f"evaluate/{arm}" for arm in ARMS),
    *("export", "bench"),
]
"""The folders that hold a stage."""


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def fallen(rows: list[dict[str, Any]]) -> Counter[str | None]:
    """How many rows have each reason; None counts the accepted."""
    return Counter(row["check"]["reason"] for row in rows)


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Wilson's score interval at 95 %, from the formula."""
    z, share = 1.959963984540054, correct / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


@pytest.fixture(scope="module")
def report(smoke_run: SmokeRun) -> dict[str, Any]:
    assert smoke_run.first.code == 0, smoke_run.first
    loaded: dict[str, Any] = json.loads((smoke_run.folder / "report.json").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.slow
def test_the_run_ends_well_and_says_what_came_out(smoke_run: SmokeRun) -> None:
    first, folder = smoke_run.first, smoke_run.folder
    assert first.code == 0, first
    assert first.err == ""  # no bars and no notices of libraries where there is no terminal
    said = first.out.splitlines()
    assert said[0] == f"gsm8k, scale smoke, in {folder}"
    assert [line.split()[0] for line in said if re.fullmatch(r"[\w/]+ +\d+\.\d s", line)] == DONE
    assert "On the starter task (16 test problems, school arithmetic, not GSM8K), arte answers" in first.out
    assert f"  arte report {folder}" in said[-3:]
    assert not list(folder.glob("*.partial"))
    assert [name for name in DONE if not (folder / name / "stage.json").is_file()] == []


def test_the_report_has_every_key_and_what_it_was_made_from(report: dict[str, Any], smoke_run: SmokeRun) -> None:
    assert [key for key in CONTRACT if key not in report] == []
    assert [report[key] for key in CONTRACT[:5]] == [1, "gsm8k", "smoke", "starter", 0]
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["memory_bytes"] > 2**30
    assert report["machine"]["versions"]["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert {role: report["models"][role]["name"] for role in ("teacher", "student")} == {
        "teacher": "tiny-taught-teacher",
        "student": "tiny-random-student",
    }
    # 536 tokens × 32 tied; 2 layers of 9 × 32² + 2 norms of 32; a last norm of 32
    assert report["models"]["student"]["parameters"] == 536 * 32 + 2 * (9 * 32**2 + 64) + 32
    assert [stage["name"] for stage in report["stages"]] == DONE
    for stage in report["stages"]:
        record = json.loads((smoke_run.folder / stage["name"] / "stage.json").read_text())
        assert stage["seconds"] == record["seconds"] > 0
        assert 100 * 2**20 < stage["peak_rss_bytes"] < 8 * 2**30
        assert stage["kept"] is False
    assert all(stage["tokens_in"] > 0 for stage in report["stages"] if stage["name"] in ("elicit", "tailor", "export"))
    assert [row["stage"] for row in report["plan"]] == list(STAGES[:-1])
    assert report["commands"] == [f"arte {' '.join(SMOKE)} --out {smoke_run.folder}"]


def test_drafts_and_preference_are_those_on_disk(report: dict[str, Any], smoke_run: SmokeRun) -> None:
    drafted, accepted, rejected = 0, 0, Counter[str]()
    for stage, rationales_each in (("elicit", 4), ("tailor", 1)):
        questions = lines(smoke_run.folder / stage / "questions.jsonl")
        rationales = lines(smoke_run.folder / stage / "rationales.jsonl")
        each = {
            row["id"]: rationales_each + (row["solution"] is not None)
            for row in questions
            if row["check"]["reason"] is None
        }
        assert Counter(row["question_id"] for row in rationales) == each
        reasons = fallen(questions) + fallen(rationales)
        accepted += fallen(rationales)[None]
        drafted += len(rationales) + sum(count for why, count in fallen(questions).items() if why)
        rejected.update({why: count for why, count in reasons.items() if why})
    data = report["data"]
    assert (data["drafted"], data["accepted"]) == (drafted, accepted)
    assert data["rejected"] == {why: rejected[why] for why in data["rejected"]}
    assert drafted == accepted + sum(rejected.values())
    assert accepted > 0

    scores = lines(smoke_run.folder / "prefer" / "scores.jsonl")
    drafts = {row["rationale_id"] for row in scores}
    means = [sum(row["value"] for row in scores if row["rationale_id"] == draft) / 4 for draft in drafts]
    preference = report["preference"]
    assert preference["probes"] == len({row["probe_id"] for row in scores}) == 4
    assert preference["evaluations"] == len(scores) == 4 * len(drafts)
    assert preference["pairs"] == len(lines(smoke_run.folder / "prefer" / "pairs.jsonl")) >= 1
    assert preference["draft_scores"] == pytest.approx(sorted(means, reverse=True))
    examples = {arm: lines(smoke_run.folder / "distill" / arm / "examples.jsonl") for arm in ARMS[1:]}
    assert data["examples"] == {arm: len(rows) for arm, rows in examples.items()}
    assert len(examples["arte"]) == len(examples["verified"]) > 12
    for rows in examples.values():  # 12 seeds, then drafts
        assert [row["id"].startswith("starter-seed-") for row in rows] == [place < 12 for place in range(len(rows))]
    assert data["seeds"] == 12


def test_accuracies_are_recounted_from_the_samples(report: dict[str, Any], smoke_run: SmokeRun) -> None:
    folder, files = smoke_run.folder, [row["file"] for row in report["artefacts"]]
    sources = {(arm, "model"): lines(folder / "evaluate" / arm / "samples.jsonl") for arm in ARMS}
    sources |= {("arte", file): lines(folder / "export" / f"{file}.samples.jsonl") for file in files}
    assert len(sources) == 5
    seen = set()
    for row in report["accuracy"]:
        samples = sources[row["arm"], row["artefact"]]
        kept = [sample for sample in samples if row["slice"] in (sample["slice"], f"steps={sample['steps']}")]
        if row["slice"].startswith("steps="):
            kept = [sample for sample in kept if sample["slice"] == "test"]
        answer = {"strict-match": "strict", "flexible-extract": "flexible"}[row["metric"]]
        correct = sum(sample[answer] == sample["gold"] for sample in kept)
        assert (row["n"], row["correct"]) == (len(kept), correct)
        assert row["accuracy"] == pytest.approx(correct / len(kept))
        assert row["ci95"] == pytest.approx(wilson(correct, len(kept)), abs=1e-9)
        seen.add((row["arm"], row["artefact"], row["metric"], row["slice"]))
    slices = ("test", "unseen", "steps=1", "steps=2", "steps=3")
    assert len(seen) == len(report["accuracy"]) == len(sources) * 2 * len(slices)
    assert Counter(sample["slice"] for sample in sources["arte", "model"]) == {"test": 16, "unseen": 8}

    found = {(row["a"], row["b"], row["metric"], row["slice"]): row for row in report["comparisons"]}
    for other in ("verified", "untrained"):
        row = found["arte", other, "strict-match", "test"]
        shares = [
            sum(sample["strict"] == sample["gold"] for sample in sources[arm, "model"] if sample["slice"] == "test")
            / 16
            for arm in ("arte", other)
        ]
        assert row["n"] == 16
        assert row["difference"] == pytest.approx(shares[0] - shares[1])
        assert row["ci95"][0] <= row["difference"] <= row["ci95"][1]
        assert 0 <= row["p"] <= 1
        assert row["test"] == "paired bootstrap"


def test_files_are_the_ones_described_and_measured(report: dict[str, Any], smoke_run: SmokeRun) -> None:
    assert [row["scheme"] for row in report["artefacts"]] == ["q8_0", "q4_k_m"]
    for row in report["artefacts"]:
        content = (smoke_run.folder / "export" / row["file"]).read_bytes()
        assert content[:4] == b"GGUF"
        assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        parity = row["parity"]
        assert [parity[key] for key in ("token_ids", "chat_template", "special_tokens", "passed")] == [True] * 4
        assert 0 <= parity["greedy_match"] <= 1
        assert parity["strings"] >= 1000
        assert parity["conversations"] >= 20
        assert parity["distributions"]["positions"] > 1000
        assert parity["task_accuracy"]["n"] == 24
    assert [row["file"] for row in report["measurements"]] == [row["file"] for row in report["artefacts"]]
    for row in report["measurements"]:
        assert (row["device"], row["how"], row["load_s"]["count"]) == ("this-machine", "measured", 2)
        assert row["pp_tok_s"]["min"] <= row["pp_tok_s"]["median"] <= row["pp_tok_s"]["max"]
        assert row["ttft_s"]["min"] > 0
        assert row["energy_j_per_token"] is None
    calibration = [row["calibration"] for row in report["artefacts"]]
    assert calibration[0] is None
    assert (calibration[1]["scheme"], calibration[1]["shipped"]) == ("q4_k_m", "own")
    assert all(calibration[1][name]["positions"] > 1000 for name in ("none", "generic", "own"))
    assert [(row["device"], row["result"]) for row in report["verdicts"]] == [("this-machine", "pass")] * 2


class Loads(html.parser.HTMLParser):
    """What a browser would fetch for the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags = Counter[str]()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        names = ("src", "srcset", "data", "poster") if tag == "a" else ("src", "srcset", "data", "poster", "href")
        self.fetched += [value or "" for name, value in attrs if name in names and not (value or "").startswith("#")]


def test_page_card_and_modelfile(smoke_run: SmokeRun) -> None:
    page = (smoke_run.folder / "report.html").read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(page)
    assert [address for address in loads.fetched if not address.startswith("data:")] == []
    assert "@import" not in page
    assert loads.tags["svg"] >= 3
    assert loads.tags["script"] == 0
    card = (smoke_run.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "tiny-random-student" in card
    said = (smoke_run.folder / "Modelfile").read_text(encoding="utf-8").splitlines()
    [model] = [line.removeprefix("FROM ") for line in said if line.startswith("FROM ")]
    assert (smoke_run.folder / model).is_file()
    assert said[0] == "# ollama create NAME -f Modelfile"


@pytest.mark.slow
def test_the_same_command_keeps_every_stage_and_report_makes_the_same_again(
    report: dict[str, Any], smoke_run: SmokeRun, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(smoke_run.folder, folder)
    before = command.rows(folder)
    again = command.done(*SMOKE, "--out", str(folder))
    assert again.seconds < smoke_run.first.seconds / 2
    assert again.out.count("(kept from before)") == len(DONE)
    assert command.rows(folder) == before
    made = json.loads((folder / "report.json").read_text())
    assert [stage["kept"] for stage in made["stages"]] == [True] * len(DONE)
    same = [key for key in report if key not in ("stages", "machine", "plan", "commands")]
    assert {key: made[key] for key in same} == {key: report[key] for key in same}

    for name in ("report.json", "report.html", "MODEL_CARD.md", "Modelfile"):
        (folder / name).unlink()
    told = command.done("report", str(folder))
    assert "On the starter task" in told.out
    assert json.loads((folder / "report.json").read_text()) == made
    assert [name for name in ("report.html", "MODEL_CARD.md", "Modelfile") if not (folder / name).is_file()] == []


@pytest.mark.slow
def test_from_python_then_stage_by_stage_gives_the_same_rows(smoke_run: SmokeRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    script = (
        "import sys, arte\n"
        "assert 'torch' not in sys.modules\n"
        "recipe = arte.load_recipe('gsm8k', scale='smoke', overrides=['bench.repeats=1'])\n"
        "assert (recipe.scale, recipe.bench.repeats) == ('smoke', 1)\n"
        "assert arte.run(recipe, sys.argv[1], until='elicit') is None\n"
    )
    ended = command.run("-c", script, str(run), program=(sys.executable,))
    assert ended.code == 0, ended
    whole = command.rows(smoke_run.folder)
    drafted = {path: content for path, content in whole.items() if path.startswith("elicit/")}
    assert len(drafted) == 2
    assert command.rows(run) == drafted

    ended = command.done(*SMOKE, "--out", str(run), "--until", "prefer")
    assert "stopped after prefer; the same command without --until goes on" in ended.out
    assert json.loads((run / "kept.json").read_text()) == ["elicit"]
    assert sorted(path.name for path in run.iterdir() if path.is_dir()) == ["elicit", "prefer"]

    command.done(*SMOKE, "--out", str(run), "--until", "evaluate")
    assert json.loads((run / "kept.json").read_text()) == ["elicit", "prefer"]
    assert len(whole) == 11
    assert command.rows(run) == whole


@pytest.mark.slow
def test_a_changed_setting_redoes_its_stage_and_what_follows(smoke_run: SmokeRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(smoke_run.folder, run)
    before = {name: (run / name / "stage.json").read_bytes() for name in DONE}
    command.done(*SMOKE, "--out", str(run), "--until", "evaluate", "distill.epochs=2")
    assert json.loads((run / "kept.json").read_text()) == ["elicit", "prefer", "align", "tailor", "evaluate/untrained"]
    changed = [name for name in DONE if (run / name / "stage.json").read_bytes() != before[name]]
    assert changed == [
        name for name in DONE if name.startswith(("distill/", "evaluate/")) and name != "evaluate/untrained"
    ]
    steps = [len(lines(folder / "distill" / "arte" / "metrics.jsonl")) for folder in (smoke_run.folder, run)]
    assert steps[1] == 2 * steps[0]

    command.done(*SMOKE, "--out", str(run), "--until", "prefer", "--redo", "prefer")
    assert json.loads((run / "kept.json").read_text()) == ["elicit"]
