"""Stages over two tasks at once: what is drafted, scored, paired, chosen and asked stays within its task."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from arte import tasks
from arte.preference import DraftByDraft
from arte.preference.icl import one_shot
from arte.recipe import Elicit, Evaluate, Prefer
from arte.rows import Check, Example, Item, Pair, Question, Rationale, Score, read_rows, write_rows
from arte.stages import judge
from arte.stages.choosing import Candidate, candidates, equal_share
from arte.stages.conversations import conversations
from arte.stages.elicit import elicit
from arte.stages.evaluate import Sample, Slice, chats, evaluate
from arte.stages.prefer import prefer, score
from arte.tasks import Taught
from arte.workspace import StageFolder
from tests.stages.scripted import ScriptedEngine, Stopped

STEPS, PENS = "bbh/navigate", "bbh/object_counting"
WORDS = ("ant", "bee", "cow", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay", "kid", "lamb", "mule", "newt", "owl")
SEEDS = [
    Item(task=task, id=f"{task}-{number}", question=question.format(word), rationale="", answer=answer)
    for number, word in enumerate(WORDS[:3])
    for task, question, answer in ((STEPS, "Walk to the {}. Back?", "No"), (PENS, "I have one {}. How many?", "1"))
]


@pytest.fixture(scope="module")
def both() -> Taught:
    return tasks.taught(f"{STEPS},{PENS}")


def teacher(prompt: str, seed: int) -> str:
    """A new item of the kind that it was shown, or the solution of one; in three of seeds, it has nothing to say."""
    words = " ".join(WORDS[seed // 16**turn % 15] for turn in range(4))
    if "Example 1:" in prompt:
        if seed % 3 == 0:
            return "Well."
        return (
            f" Walk past {words}. Back?\nAnswer: No"
            if "Walk to" in prompt
            else f" I have {words}. How many?\nAnswer: 4"
        )
    return "I walk.\n<ans>No</ans>" if "Back?" in prompt else "I count.\n<ans>4</ans>"


SETTINGS = Elicit(
    questions=5, seeds_per_prompt=2, questions_per_prompt=1, styles=("brief",), batch_size=3, near_duplicate=1.0
)  # fmt: skip


def draft(
    folder: Path, task: Taught, engine: ScriptedEngine, explained: int | None = None, settings: Elicit = SETTINGS
) -> None:
    folder.mkdir(exist_ok=True)
    elicit(
        StageFolder(folder, False), engine, task, SEEDS, [], settings, styles=["brief"], explained=explained,
        rationale_temperature=1.0, seed=0,
    )  # fmt: skip


def test_prompts_are_of_one_task_and_shared_out_evenly(tmp_path: Path, both: Taught) -> None:
    draft(tmp_path / "a", both, ScriptedEngine(teacher))
    questions = read_rows(tmp_path / "a" / "questions.jsonl", Question)
    rationales = read_rows(tmp_path / "a" / "rationales.jsonl", Rationale)
    accepted = [row for row in questions if row.check.accepted]
    solved = {row.question_id for row in rationales if row.check.accepted}
    counts = Counter(row.task for row in questions if row.id in solved)
    assert set(counts) == {STEPS, PENS}
    assert all(count >= 5 for count in counts.values())
    for row in questions:
        other = "I have one" if row.task == STEPS else "Walk to"
        assert other not in row.prompt
    for row in accepted:
        assert row.target == ("No" if row.task == STEPS else "4")
    # Three prompts a round: two of one task and one of the other, by turns, while both are open.
    rounds = [[row.task for row in questions if row.id.startswith(f"q{turn}-")] for turn in range(2)]
    assert rounds == [[STEPS, PENS, STEPS], [PENS, STEPS, PENS]]
    tasks_of = {row.id: row.task for row in questions}
    assert {(tasks_of[row.question_id], row.text) for row in rationales} == {(STEPS, "I walk."), (PENS, "I count.")}


def test_several_replies_to_a_prompt_and_earlier_drafts_are_of_one_task(tmp_path: Path, both: Taught) -> None:
    """Two prompts a round, one of each task, three replies each; behind the first round each shows a draft."""
    settings = SETTINGS.model_copy(update={"drafts_per_prompt": 1, "completions": 3, "batch_size": 6})
    draft(tmp_path / "a", both, ScriptedEngine(teacher), settings=settings)
    questions = read_rows(tmp_path / "a" / "questions.jsonl", Question)
    assert [row.task for row in questions[:6]] == [STEPS] * 3 + [PENS] * 3
    for start in range(0, len(questions), 3):
        assert len({row.prompt for row in questions[start : start + 3]}) == 1
    shown: Counter[tuple[str | None, int]] = Counter()
    for row in questions:
        [opening] = [turn["content"] for turn in json.loads(row.prompt) if turn["role"] == "assistant"]
        assert ("I have" if row.task == STEPS else "Walk") not in opening
        drafts = [each for each in questions if each.text in opening]
        assert {each.task for each in drafts} <= {row.task}
        shown[row.task, len(drafts)] += 1
    assert shown[STEPS, 1] > 0
    assert shown[PENS, 1] > 0


def test_so_many_of_each_task_are_explained(tmp_path: Path, both: Taught) -> None:
    draft(tmp_path / "a", both, ScriptedEngine(teacher), explained=2)
    accepted = [row for row in read_rows(tmp_path / "a" / "questions.jsonl", Question) if row.check.accepted]
    explained = [row.question_id for row in read_rows(tmp_path / "a" / "rationales.jsonl", Rationale)]
    assert sorted(explained) == sorted(
        row.id for task in (STEPS, PENS) for row in [each for each in accepted if each.task == task][:2]
    )


def test_a_stopped_elicitation_goes_on_the_same(tmp_path: Path, both: Taught) -> None:
    engine = ScriptedEngine(teacher)
    draft(tmp_path / "whole", both, engine)
    for stop in (3, 4):
        with pytest.raises(Stopped):
            draft(tmp_path / f"cut-{stop}", both, ScriptedEngine(teacher, fail_after=stop))
        draft(tmp_path / f"cut-{stop}", both, ScriptedEngine(teacher))
        for name in ("questions.jsonl", "rationales.jsonl"):
            assert (tmp_path / f"cut-{stop}" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


PROBES = [
    Item(task=task, id=f"{task}-p{n}", question="?", rationale="", answer="1")
    for n in range(2)
    for task in (STEPS, PENS)
]
QUESTIONS = [
    Question(task=task, id=f"q{n}-{task}", text=f"{task} {n}?", target="1", check=Check(),
             prompt=json.dumps([{"role": "user", "content": task}, {"role": "assistant", "content": "Example 1:"}]))
    for n in range(4) for task in (STEPS, PENS)
]  # fmt: skip
RATIONALES = [
    Rationale(
        id=f"{question.id}-r{turn}", question_id=question.id, style=("steps", "brief")[turn],
        text=f"{turn}{question.id}", answer="1", check=Check(),
    )
    for question in QUESTIONS for turn in range(2)
]  # fmt: skip


class Scorer(DraftByDraft):
    """A probe of counting gives ten times what one of walking gives; the higher the question and the turn, the more."""

    columns = tuple(probe.id for probe in PROBES)

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, list[str]]] = []

    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        names = [self.columns[place] for place in (range(4) if places is None else places)]
        if example is None:
            return [0.0] * len(names)
        self.asked.append((example.task, names))
        found = re.match(r"q(\d).*-r(\d)", example.id)
        assert found is not None
        value = int(found[1]) + 0.5 * int(found[2])
        return [value * (10 if PENS in name else 1) for name in names]


@pytest.fixture
def drafted(tmp_path: Path) -> Path:
    folder = tmp_path / "elicit"
    folder.mkdir()
    write_rows(folder / "questions.jsonl", QUESTIONS)
    write_rows(folder / "rationales.jsonl", RATIONALES)
    return folder


def test_a_draft_is_asked_of_its_own_probes_and_paired_within_its_task(drafted: Path, both: Taught) -> None:
    scorer, folder = Scorer(), drafted.parent / "prefer"
    folder.mkdir()
    settings = Prefer(question_pairs=1, rationale_pairs=9, confidence=0.0, drafts_at_once=3)
    prefer(StageFolder(folder, False), drafted, scorer, PROBES, both, settings, 1, seed=0)
    assert len(scorer.asked) == 16
    for task, names in scorer.asked:
        assert names == [f"{task}-p0", f"{task}-p1"]
    rows = read_rows(folder / "scores.jsonl", Score)
    assert len(rows) == 16 * 2
    pairs = read_rows(folder / "pairs.jsonl", Pair)
    # Of each task one pair of questions, its best against its worst, and one pair of rationales a question: a walk of
    # the highest value is below most of the counting ones, and still preferred among walks.
    assert Counter(pair.level for pair in pairs) == {"question": 2, "rationale": 8}
    assert {(pair.chosen_id, pair.rejected_id) for pair in pairs if pair.level == "question"} == {
        (f"q3-{task}", f"q0-{task}") for task in (STEPS, PENS)
    }
    for pair in pairs:
        task = STEPS if STEPS in pair.chosen_id else PENS
        assert task in pair.rejected_id
        assert pair.margin == (3.0 if pair.level == "question" else 0.5) * (10 if task == PENS else 1)
        told = tasks.load(task).rationale_prompt("x", None)[0]["content"] if pair.level == "rationale" else task
        assert told in json.loads(pair.prompt)[0]["content"]


def test_pairs_under_one_prompt_are_asked_for_of_each_task(drafted: Path, both: Taught) -> None:
    class Signed(Scorer):
        """The first two questions of a task harm, the others help."""

        def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
            values = super().values(example, places)
            middle = 0.0 if example is None else 17.5 if example.task == PENS else 1.75
            return [value - middle for value in values]

    folder = drafted.parent / "prefer"
    folder.mkdir()
    settings = Prefer(question_pairs=3, rationale_pairs=0, confidence=0.0, chosen="above_zero", score="influence")
    prefer(StageFolder(folder, False), drafted, Signed(), PROBES, both, settings, 1, seed=0)
    pairs = read_rows(folder / "pairs.jsonl", Pair)
    # Of each task the three widest of its four gaps.
    assert [(pair.chosen_id, pair.rejected_id) for pair in pairs] == [
        (f"q{better}-{task}", f"q{worse}-{task}")
        for task in (STEPS, PENS)
        for better, worse in ((3, 0), (2, 0), (3, 1))
    ]
    assert json.loads((folder / "dropped.json").read_text())["question"] == {"more than asked for": 2}


def test_a_stopped_scoring_goes_on_the_same_and_may_ask_a_part(drafted: Path) -> None:
    class Stopping(Scorer):
        def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
            if len(self.asked) == 11:
                raise Stopped
            return super().values(example, places)

    settings = Prefer(drafts_at_once=3, score="icl_accuracy")
    for name, scorer in (("whole", Scorer()), ("cut", Stopping()), ("cut", Scorer())):
        folder = drafted.parent / name
        folder.mkdir(exist_ok=True)
        if isinstance(scorer, Stopping):
            with pytest.raises(Stopped):
                score(StageFolder(folder, False), drafted, RATIONALES, scorer, PROBES, settings, 0)
        else:
            score(StageFolder(folder, False), drafted, RATIONALES, scorer, PROBES, settings, 0)
    assert len(scorer.asked) == 16 - 8 - 3  # all of the first task, and a batch of the second
    whole, cut = (read_rows(drafted.parent / name / "scores.jsonl", Score) for name in ("whole", "cut"))
    assert whole == cut


def test_arms_have_the_same_share_of_every_task(drafted: Path) -> None:
    every = candidates(drafted, None, "random", checked=True)
    few = [each for each in every if each.example.task == PENS or "q0" in each.example.id]  # 8 counting, 2 walking
    shares = equal_share({"a": ("random", every), "b": ("random", few)}, 6, seed=0)
    for share in shares.values():
        assert Counter(example.task for example in share) == {STEPS: 2, PENS: 4}
        assert [example.task for example in share][:4] == [STEPS, PENS] * 2
    shares = equal_share({"a": ("random", every)}, 6, seed=0)
    assert Counter(example.task for example in shares["a"]) == {STEPS: 3, PENS: 3}


def test_each_task_has_its_own_preferred_style(drafted: Path) -> None:
    scored = drafted.parent / "prefer"
    scored.mkdir()
    liked = {STEPS: "-r0", PENS: "-r1"}
    rows = [
        Score(rationale_id=row.id, question_id=row.question_id, probe_id="p", value=float(row.id.endswith(liked[task])))
        for row in RATIONALES
        for task in (STEPS if STEPS in row.id else PENS,)
    ]
    write_rows(scored / "scores.jsonl", rows)
    found: list[Candidate] = candidates(drafted, scored, "style", checked=True)
    assert {(each.example.task, each.style) for each in found} == {(STEPS, "steps"), (PENS, "brief")}


def test_what_is_asked_stands_behind_shots_of_its_own_task(both: Taught) -> None:
    slices: dict[Slice, Sequence[Item]] = {"test": PROBES[:2]}
    [walk, count] = chats(slices, SEEDS[:4], both)
    assert [message["role"] for message in walk] == ["user", "assistant"] * 2 + ["user"]
    # Gold items of BBH have no solutions: a shot is an answer alone.
    assert [message["content"] for message in walk if message["role"] == "assistant"] == ["<ans>No</ans>"] * 2
    assert [message["content"] for message in count if message["role"] == "assistant"] == ["<ans>1</ans>"] * 2
    example = Example(task=PENS, id="a", question="Pens?", rationale="I count.", answer="4")
    shown = one_shot(both, example, PROBES[1])
    assert shown[0] == tasks.load(PENS).student_prompt("Pens?")[0]
    [row] = conversations([example], both)
    assert row["prompt"] == tasks.load(PENS).student_prompt("Pens?")


def test_answers_are_read_by_their_own_task(tmp_path: Path, both: Taught) -> None:
    items = [
        Item(task=STEPS, id="w", question="Back?", rationale="", answer="Yes"),
        Item(task=PENS, id="c", question="Pens?", rationale="", answer="3"),
    ]
    asked = ["w", "c"]
    samples = evaluate(
        tmp_path / "arm", {"test": items}, asked, both, lambda _: ["<ans>yes</ans>", "<ans>3 pens</ans>"], Evaluate()
    )
    assert [(row.task, row.strict, row.strict_correct) for row in samples] == [(STEPS, "Yes", True), (PENS, "3", True)]
    assert read_rows(tmp_path / "arm" / "samples.jsonl", Sample) == samples
    told = judge.lines([*samples, samples[1].model_copy(update={"id": "d", "strict_correct": False})])
    assert told[0].startswith("test    strict    2 of 3: 66.7 %")
    assert told[2].startswith("bbh/navigate strict    1 of 1: 100.0 %")
    # Both are of the family Logic: (1/1 + 1/2) / 2.
    assert [line.partition(" (95")[0] for line in told if line.startswith("mean") and "strict" in line] == [
        "mean Logic, 2 tasks, strict-match: 75.0 %", "mean BBH, 2 tasks, strict-match: 75.0 %",
    ]  # fmt: skip
    assert len(judge.lines([row.model_copy(update={"task": None}) for row in samples])) == 2
