"""Open instructions through every stage, with a tiny teacher that knows some: half have replies like the seeds', half
have noise for a reply, which a step of training on makes the gold replies less likely by."""

import json
from pathlib import Path

import pytest

from arte import config, data_export, pipeline, preference_check, tasks
from arte.errors import RecipeError
from arte.models import taught, tiny
from arte.report.pooling import pooled
from arte.rows import Example, Pair, Question, Rationale, Score, read_rows
from arte.stages.held_out_loss import OpenSample
from arte.tasks import Draft
from arte.tasks.folder_task import FolderTask

YAML = """\
about: Short instructions with replies.
licence: Apache-2.0
things: instructions
data: {seeds: seeds.json, validation: validation.json, test: test.json}
fields: {input: instruction, context: input, answer: output}
answer: {kind: open}
"""
THINGS = ("cat", "dog", "cow", "hen", "fox", "owl", "bee", "ant", "pig", "elk", "ape", "eel")
KNOWN = {
    "Tell me of a goat.": "A goat is an animal.",
    "Tell me of a duck.": "A duck is an animal.",
    "Tell me of a wolf.": "A wolf is an animal.",
    "Count some rain.": "9 9 9 9 7 7 7 7 9 9",
    "Count old snow.": "7 9 7 9 7 9 7 9 7 9",
    "Count wet wind.": "9 7 7 9 9 7 7 9 9 7",
}


def row(thing: str) -> dict[str, str]:
    return {"instruction": f"Say what a {thing} is.", "input": "", "output": f"A {thing} is an animal."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("task") / "animals"
    made.mkdir()
    (made / "task.yaml").write_text(YAML)
    for split, things in (("seeds", THINGS[:4]), ("validation", THINGS[4:8]), ("test", THINGS[8:])):
        (made / f"{split}.json").write_text(json.dumps([row(thing) for thing in things], indent=1))
    return made


@pytest.fixture(scope="module")
def teacher(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the known instructions behind any two seeds, or a seed and a draft; and the reply to each."""
    made = tmp_path_factory.mktemp("teacher")
    task = FolderTask(folder)
    seeds = task.found("seeds").items
    drafts = [seeds[0].model_copy(update={"question": question}) for question in KNOWN]
    lists = [
        (prompt, task.question_reply(prompt, [Draft(question, None, None)]).removeprefix(prompt[-1]["content"]))
        for one in seeds
        for other in [*seeds, *drafts]
        if one != other
        for shown in ([one, other], [other, one])
        for prompt in [task.question_prompt(shown, 1)]
        for question in KNOWN
    ]
    replies = [(task.rationale_prompt(question, None), reply) for question, reply in KNOWN.items()]
    tiny.make(tiny.TAUGHT, 0, made)
    taught.teach(made, 0, [replies, lists, lists])
    return made


def test_from_the_instructions_to_the_file(folder: Path, teacher: Path, tmp_path: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_text("task: {name: ., seeds: 4, probes: 4}\nteacher: {name: x}\nstudent: {name: tiny-random-student}\n")
    recipe = config.load_recipe(
        path,
        "starter",
        [
            f"teacher.name={teacher}", "arms=[untrained,verified,arte]", "elicit.questions=6", "elicit.attempts=16",
            "elicit.seeds_per_prompt=1", "elicit.drafts_per_prompt=1", "elicit.questions_per_prompt=1",
            "elicit.completions=6", "elicit.batch_size=6", "elicit.question_tokens=32", "elicit.rationale_tokens=32",
            "elicit.styles=[brief]", "prefer.score=influence", "prefer.chosen=above_zero", "prefer.rationale_pairs=0",
            "align.lora_rank=4", "align.batch_size=1", "align.micro_batch_size=1",
            "distill.examples=4", "distill.seeds=1", "distill.batch_tokens=64", "distill.learning_rate=5e-2",
            "evaluate.max_tokens=8", "export.targets=[gguf:q8_0]", "export.calibration=2", "export.test=null",
            "bench.prompt_tokens=64", "bench.generated_tokens=8", "bench.repeats=2", "bench.prompts=2",
            "bench.quiet_s=0",
        ],
    )  # fmt: skip
    run = tmp_path / "run"
    report = pipeline.run(recipe, run)
    assert report is not None

    questions = {row.id: row for row in read_rows(run / "elicit" / "questions.jsonl", Question)}
    accepted = [row for row in questions.values() if row.check.accepted]
    assert {row.text for row in accepted} <= set(KNOWN)
    assert all(row.solution is None and row.target is None for row in questions.values())
    replies = [row for row in read_rows(run / "elicit" / "rationales.jsonl", Rationale) if row.check.accepted]
    assert {row.style for row in replies} == {"brief"}  # none comes from the list
    assert {row.answer for row in replies} <= set(KNOWN.values())

    influence: dict[str, list[float]] = {}
    for score in read_rows(run / "prefer" / "scores.jsonl", Score):
        influence.setdefault(score.question_id, []).append(score.value)
    mean = {question: sum(values) / len(values) for question, values in influence.items()}
    assert {questions[name].text for name, value in mean.items() if value < 0} == set(list(KNOWN)[3:])
    pairs = read_rows(run / "prefer" / "pairs.jsonl", Pair)
    for pair in pairs:
        assert questions[pair.chosen_id].prompt == questions[pair.rejected_id].prompt
        assert mean[pair.chosen_id] > 0 > mean[pair.rejected_id]
        assert pair.chosen.endswith(f"Example 3: {questions[pair.chosen_id].text}")
        assert pair.interval is not None
        assert 0 < pair.interval[0] <= pair.margin <= pair.interval[1]
    assert len(pairs) >= 2

    examples = read_rows(run / "distill" / "arte" / "examples.jsonl", Example)
    assert {example.answer for example in examples} > {row(thing)["output"] for thing in THINGS[:4]}
    task = tasks.load(recipe.task.name)
    items = task.splits(recipe.task, recipe.seed).test
    losses = {}
    for arm in recipe.arms:
        samples = read_rows(run / "evaluate" / arm / "samples.jsonl", OpenSample)
        assert [(sample.question, sample.gold) for sample in samples] == [
            (item.question, item.answer) for item in items
        ]
        losses[arm] = [sample.loss for sample in samples]

    assert report.accuracy == []
    assert {loss.arm: loss.loss for loss in report.losses} == pytest.approx(
        {arm: sum(those) / len(those) for arm, those in losses.items()}
    )
    gain = report.compared("arte", "untrained", "loss")
    assert gain is not None
    assert gain.difference == pytest.approx((sum(losses["arte"]) - sum(losses["untrained"])) / 4)
    [artefact] = report.artefacts
    assert artefact.parity is not None
    assert artefact.parity.model_dump()["task_accuracy"] is None  # the other checks stand
    assert artefact.parity.model_dump()["greedy"]["prompts"] == 4
    assert artefact.parity.ppl_ratio is not None
    for name in ("report.html", "MODEL_CARD.md"):
        assert "strict" not in (run / name).read_text().lower()
    [test] = pooled([run])
    assert test.metric == "loss"
    data_export.export(run, tmp_path / "data")
    rows = [json.loads(line) for line in (tmp_path / "data" / "data" / "sft-arte.jsonl").read_text().splitlines()]
    assert [row["completion"][0]["content"] for row in rows] == [example.answer for example in examples]
    with pytest.raises(RecipeError, match=r"task.name: animals has open answers"):
        preference_check.check(run, ["likelihood"], 2, 1, None, print)
