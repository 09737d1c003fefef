"""A task of the user's own, from its folder to the file for a device, with a tiny teacher that knows some items."""

import hashlib
import json
from pathlib import Path

import pytest

from arte import config, data_export, pipeline, task_new, tasks
from arte.models import taught, tiny
from arte.report import words
from arte.rows import Example, Pair, Question, Rationale, read_rows
from arte.tasks import Draft
from arte.tasks.folder_task import FolderTask

KNOWN = [
    Draft("The sum on my bill is wrong.", None, "billing"),
    Draft("Where is my parcel?", None, "shipping"),
    Draft("This hat does not fit me.", None, "returns"),
    Draft("I lost my password.", None, "account"),
    Draft("You took my money twice.", None, "billing"),
    Draft("It should have come on Monday.", None, "shipping"),
]


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return task_new.new(str(tmp_path_factory.mktemp("task") / "tickets"))


@pytest.fixture(scope="module")
def teacher(tickets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists of two of the known items, behind any seed; and the team of each."""
    folder = tmp_path_factory.mktemp("teacher")
    task = FolderTask(tickets)
    seeds = task.found("seeds").items
    lists = [
        (prompt, task.question_reply(prompt, KNOWN[place : place + 2]).removeprefix(prompt[-1]["content"]))
        for prompt in (task.question_prompt([seed], 2) for seed in seeds)
        for place in range(0, len(KNOWN), 2)
    ]
    answers = [(task.rationale_prompt(draft.question, "brief"), draft.target or "") for draft in KNOWN]
    tiny.make(tiny.TAUGHT, 0, folder)
    taught.teach(folder, 0, [answers, lists, lists])
    return folder


def test_from_the_folder_to_the_file(tickets: Path, teacher: Path, tmp_path: Path) -> None:
    recipe = config.load_recipe(
        tickets / "recipe.yaml",
        "starter",
        [
            f"teacher.name={teacher}", "teacher.drafts_in=auto", "student.name=tiny-random-student",
            "arms=[untrained,unaligned,arte]", "elicit.questions=4", "elicit.attempts=12", "elicit.seeds_per_prompt=1",
            "elicit.questions_per_prompt=2", "elicit.batch_size=8", "elicit.question_tokens=120", "prefer.drafts=null",
            "elicit.rationale_tokens=16", "prefer.question_pairs=1", "prefer.confidence=0", "tailor.rationales=1",
            "align.lora_rank=4", "tailor.temperature=0", "distill.examples=4", "distill.batch_tokens=256",
            "evaluate.max_tokens=8", "export.targets=[gguf:q8_0]", "export.calibration=2", "bench.prompt_tokens=64",
            "bench.generated_tokens=8", "bench.repeats=2", "bench.prompts=2", "bench.quiet_s=0",
        ],
    )  # fmt: skip
    run = tmp_path / "run"
    report = pipeline.run(recipe, run)
    assert report is not None

    questions = read_rows(run / "elicit" / "questions.jsonl", Question)
    accepted = {row.text: row.target for row in questions if row.check.accepted}
    assert set(accepted.items()) <= {(draft.question, draft.target) for draft in KNOWN}
    assert len(accepted) >= 4
    rationales = [row for row in read_rows(run / "elicit" / "rationales.jsonl", Rationale) if row.check.accepted]
    assert {row.style for row in rationales} == {"brief", "drafted"}
    assert all(row.text == "" and row.answer in {"billing", "shipping", "returns", "account"} for row in rationales)
    [pair] = read_rows(run / "prefer" / "pairs.jsonl", Pair)
    assert pair.chosen.count("\nAnswer: ") == pair.rejected.count("\nAnswer: ")
    assert pair.chosen != pair.rejected

    for arm in ("unaligned", "arte"):
        examples = read_rows(run / "distill" / arm / "examples.jsonl", Example)
        assert len(examples) == 4
        assert all(example.rationale == "" for example in examples)
    task = tasks.load(recipe.task.name)
    gold = [item.answer for item in task.splits(recipe.task, recipe.seed).test]
    samples = [json.loads(line) for line in (run / "evaluate" / "arte" / "samples.jsonl").read_text().splitlines()]
    assert [sample["gold"] for sample in samples] == gold
    teams = {"billing", "shipping", "returns", "account"}
    for sample in samples:
        assert set(sample["logprobs"]) == teams
        assert sample["chosen"] == max(teams, key=lambda team: sample["logprobs"][team])
        assert sample["chosen_correct"] == (sample["chosen"] == sample["gold"])
        assert sample["strict"] == task.strict(sample["text"])
        assert sample["strict_correct"] == (sample["strict"] == sample["gold"])
    given = json.loads((run / "evaluate" / "arte" / "stage.json").read_text())
    assert task.identity in json.dumps(given)
    assert [file.scheme for file in report.artefacts] == ["q8_0"]
    chosen = report.found("arte", metric="acc")
    assert chosen is not None
    assert chosen.correct == sum(sample["chosen_correct"] for sample in samples)

    read = {found.name: found.sha256 for found in report.data_read}
    assert read == {
        f"{split}.jsonl": hashlib.sha256((tickets / f"{split}.jsonl").read_bytes()).hexdigest()
        for split in ("seeds", "validation", "test")
    }
    assert [(row.arm, row.test, row.examples, row.items, row.contained) for row in report.overlaps] == [
        (arm, "test", 4, len(gold), []) for arm in ("unaligned", "arte")
    ]
    card = (run / "MODEL_CARD.md").read_text()
    digest = str(read["test.jsonl"])[:12]
    assert f"- test.jsonl, SHA-256 {digest}" in card
    assert f"; licence: {task.licence}.\n" in card
    assert f"- {words.overlap(report.overlaps[1])}" in card
    data_export.export(run, tmp_path / "data")
    made = (tmp_path / "data" / "README.md").read_text()
    assert f"Read: test.jsonl, SHA-256 {digest}." in made
    assert "`sft-arte`: 0 of 4 training examples share 8 words" in made


def test_a_change_of_the_definition_redoes_the_run(tickets: Path) -> None:
    before = FolderTask(tickets).identity
    path = tickets / "task.yaml"
    text = path.read_text()
    path.write_text(text.replace("Name the team", "Say which team"))
    assert FolderTask(tickets).identity != before
    path.write_text(text)
    assert FolderTask(tickets).identity == before
