"""Two subtasks of BIG-Bench Hard in one run, from drafts to a report by family; then the aligned teacher, reused."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arte import config, data_export, pipeline, tasks
from arte.errors import ModelError
from arte.models import taught, tiny
from arte.recipe import Recipe
from arte.report import compare_table, words
from arte.report.contract import Report
from arte.report.pooling import pooled
from arte.rows import Example, Pair, Question, Score, read_rows
from arte.tasks import Draft

KNOWN = {
    "bbh/navigate": [
        Draft("Take one step. Turn around. Take one step. Home?", None, "Yes"),
        Draft("Walk to the well and stay there. Home?", None, "No"),
        Draft("Go up the hill and down again. Home?", None, "Yes"),
        Draft("Run past the mill. Home?", None, "No"),
    ],
    "bbh/snarks": [
        Draft("Which is meant in scorn? (A) Rain again, lovely (B) Rain again", None, "(A)"),
        Draft("Which is meant in scorn? (A) He is late (B) He is late, what a surprise", None, "(B)"),
        Draft("Which is meant in scorn? (A) Great, a flat tyre (B) A flat tyre", None, "(A)"),
        Draft("Which is meant in scorn? (A) My soup is cold (B) Cold soup, just what I like", None, "(B)"),
    ],
}
GIVEN = {
    "navigate": [(f"Take {n} strides north, then {m} south. Are you where you began?", "Yes" if n == m else "No")
                 for n in range(4) for m in range(4)],
    "snarks": [(f"Option {n} or {m}?\n(A) bad weather {n}\n(B) splendid weather {m}", "(A)" if n < m else "(B)")
               for n in range(4) for m in range(4)],
}  # fmt: skip
SMALL = [
    "teacher.drafts_in=auto", "student.name=tiny-random-student", "arms=[untrained,unaligned,arte]",
    "task.seeds=2", "task.probes=2", "task.test=3", "elicit.questions=3", "elicit.attempts=16",
    "elicit.seeds_per_prompt=1", "elicit.questions_per_prompt=2", "elicit.styles=[steps,brief]",
    "elicit.batch_size=8", "elicit.question_tokens=160", "elicit.rationale_tokens=48", "elicit.top_p=0.8",
    "prefer.drafts=null", "prefer.question_pairs=1", "prefer.confidence=0", "align.lora_rank=4",
    "distill.examples=6", "distill.batch_tokens=256", "evaluate.max_tokens=8", "evaluate.shots=1",
    "export.targets=[gguf:q8_0]", "export.test=2", "export.calibration=2", "bench.prompt_tokens=64",
    "bench.generated_tokens=8", "bench.repeats=2", "bench.prompts=2", "bench.quiet_s=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the form in which BBH's authors publish it."""
    folder = tmp_path_factory.mktemp("bbh")
    for subtask, items in GIVEN.items():
        examples = [{"input": question, "target": target} for question, target in items]
        (folder / f"{subtask}.json").write_text(json.dumps({"canary": "x", "examples": examples}))
    return folder


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each subtask it knows lists of two items, behind any seed, and solutions in two styles and in none."""
    folder = tmp_path_factory.mktemp("teacher")
    lists: list[taught.Lesson] = []
    solutions: list[taught.Lesson] = []
    for name, known in KNOWN.items():
        task = tasks.load(name)
        seeds = task.splits(recipe_of(data, folder, name).task.model_copy(update={"seeds": 10}), 0).seeds
        lists += [
            (prompt, task.question_reply(prompt, known[place : place + 2]).removeprefix(prompt[-1]["content"]))
            for prompt in (task.question_prompt([seed], 2) for seed in seeds)
            for place in range(0, len(known), 2)
        ]
        for draft in known:
            for style, said in (
                ("steps", f"1. Look.\n2. It is {draft.target}."),
                ("brief", "So it is."),
                (None, "See."),
            ):
                reply = task.completion(said, draft.target or "")
                solutions.append((task.rationale_prompt(draft.question, style), reply))  # type: ignore[arg-type]
    tiny.make(tiny.TAUGHT, 0, folder)
    taught.teach(folder, 0, [solutions, lists, lists])
    return folder


def recipe_of(data: Path, teacher: Path, names: str, *more: str) -> Recipe:
    changed = [f"task.name={names}", f"task.data={data}", f"teacher.name={teacher}", *SMALL, *more]
    return config.load_recipe("bbh", "starter", changed)


@pytest.fixture(scope="module")
def run(data: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("run") / "both"
    report = pipeline.run(recipe_of(data, teacher, ",".join(KNOWN)), folder)
    assert report is not None
    return folder, report


@pytest.mark.slow
def test_two_subtasks_from_drafts_to_the_report(run: tuple[Path, Report]) -> None:
    folder, report = run
    for stage in ("elicit", "tailor"):
        questions = read_rows(folder / stage / "questions.jsonl", Question)
        accepted = {(row.task, row.text, row.target) for row in questions if row.check.accepted}
        known = {(name, draft.question, draft.target) for name, drafts in KNOWN.items() for draft in drafts}
        assert accepted <= known
        assert min(Counter(name for name, *_ in accepted).values()) >= 3
    for score in read_rows(folder / "prefer" / "scores.jsonl", Score):
        [name] = {row.task for row in read_rows(folder / "elicit" / "questions.jsonl", Question)
                  if row.id == score.question_id}  # fmt: skip
        assert score.probe_id.startswith(f"{name}-")
    pairs = read_rows(folder / "prefer" / "pairs.jsonl", Pair)
    told = [tasks.load(name).rationale_prompt("", None)[0]["content"] for name in KNOWN]
    of_rationales = Counter(json.loads(pair.prompt)[0]["content"] for pair in pairs if pair.level == "rationale")
    assert set(of_rationales) <= set(told)
    assert len(of_rationales) == 2  # one alignment, on pairs of both
    for arm in ("unaligned", "arte"):
        examples = read_rows(folder / "distill" / arm / "examples.jsonl", Example)
        assert Counter(example.task for example in examples) == {name: 3 for name in KNOWN}

    samples: list[dict[str, Any]] = [
        json.loads(line) for line in (folder / "evaluate" / "arte" / "samples.jsonl").read_text().splitlines()
    ]
    assert Counter(sample["task"] for sample in samples) == {name: 3 for name in KNOWN}
    for sample in samples:
        assert sample["strict"] == tasks.load(sample["task"]).strict(sample["text"])
    assert {row.slice for row in report.accuracy if row.artefact == "model"} == {
        "test", *(f"task={name}" for name in KNOWN),
    }  # fmt: skip
    assert {row.name for row in report.averages} == {"Logic", "CommonSense", "BBH"}
    assert report.data is not None
    assert all(min(each.tasks.values()) >= 3 for each in report.data.teachers)
    assert [file.scheme for file in report.artefacts] == ["q8_0"]
    assert "BBH: 6 items, 1 seed, strict-match" in compare_table.lines(pooled([folder]))


@pytest.mark.slow
def test_its_data_can_be_given_away(run: tuple[Path, Report], tmp_path: Path) -> None:
    data_export.export(run[0], tmp_path / "data")
    rows = [json.loads(line) for line in (tmp_path / "data" / "data" / "sft-arte.jsonl").read_text().splitlines()]
    told = {tasks.load(name).student_prompt("")[0]["content"] for name in KNOWN}
    assert {next(each for each in told if row["prompt"][0]["content"].startswith(each)) for row in rows} == told


@pytest.mark.slow
def test_its_aligned_teacher_writes_for_another_task_and_another_student(
    run: tuple[Path, Report], data: Path, teacher: Path, tmp_path: Path
) -> None:
    other = recipe_of(
        data, teacher, "bbh/snarks", f"align.adapter={run[0]}", "arms=[untrained,arte]", "distill.examples=3",
        "student.name=tiny-random-teacher", "evaluate.shots=0", "export.targets=[gguf:f16]",
    )  # fmt: skip
    report = pipeline.run(other, tmp_path / "other")
    assert report is not None
    done = {stage.name for stage in report.stages}
    assert {"align", "tailor", "distill/arte"} <= done
    assert not done & {"elicit", "prefer"}  # nothing is left to be asked of this student
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        ours, theirs = tmp_path / "other" / "align" / "adapter" / name, run[0] / "align" / "adapter" / name
        assert ours.read_bytes() == theirs.read_bytes()
    drafted = read_rows(tmp_path / "other" / "tailor" / "questions.jsonl", Question)
    assert {row.text for row in drafted if row.check.accepted} <= {each.question for each in KNOWN["bbh/snarks"]}
    [note] = [note for note in words.limitations(report) if "aligned by another run" in note]
    assert str(run[0]) in note

    # A mere folder will do; another teacher's will not.
    alone = recipe_of(data, teacher, "bbh/snarks", f"align.adapter={run[0] / 'align' / 'adapter'}", "arms=[arte]")
    pipeline.run(alone, tmp_path / "alone", until="align")
    kept = [json.loads((tmp_path / name / "align" / "stage.json").read_text()) for name in ("other", "alone")]
    assert kept[0]["fingerprint"] == kept[1]["fingerprint"]
    for adapter, message in (
        (run[0], r"whose weights are not those of this run's teacher tiny-random-student"),
        (run[0] / "align" / "adapter", r"this adapter does not belong to the base"),
        (data, r"expected the folder of a run that aligned its teacher, or one with adapter_config.json"),
        (tmp_path / "alone" / "nothing", r"expected the folder of a run"),
    ):
        wrong = recipe_of(data, Path("tiny-random-student"), "bbh/snarks", f"align.adapter={adapter}", "arms=[arte]")
        with pytest.raises(ModelError, match=message):
            pipeline.run(wrong, tmp_path / "wrong", until="align")
