import json
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from arte.errors import StageError
from arte.preference import DraftByDraft
from arte.preference.pairs import rationale_pairs, rationale_scores
from arte.preference.partial_table import Floats
from arte.recipe import Prefer
from arte.rows import Check, Example, Item, Pair, Question, Rationale, Score, read_rows, write_rows
from arte.stages.prefer import as_example, drafts_to_score, prefer
from arte.tasks import Task
from arte.workspace import Figures, StageFolder
from tests.stages.scripted import Stopped

FALLEN = Check(reason="inconsistent")
PROBES = [Item(id=f"p{number}", question=f"{number}?", rationale="r", answer="1") for number in range(2)]
PROMPT = json.dumps([{"role": "user", "content": "Write."}, {"role": "assistant", "content": "Problem 1:"}])
QUESTIONS = [
    Question(id=f"q{number}", text=f"Question {number}?", target=None, prompt=PROMPT, check=Check())
    for number in range(5)
]
RATIONALES = [
    Rationale(
        id=f"q{number}-r{turn}",
        question_id=f"q{number}",
        style="steps",
        text=f"{number + turn}",
        answer="1",
        check=FALLEN if (number, turn) == (1, 0) else Check(),
    )
    for number in range(5)
    for turn in range(3)
]
ACCEPTED = [row for row in RATIONALES if row.check.accepted]


class TableScorer(DraftByDraft):
    """The value of a draft is a tenth of the number that its text is, and a tenth more on the second probe.

    Without an example the values are 0.05 and 0.25. The `fail_after`-th draft and later ones raise Stopped.
    """

    def __init__(self, fail_after: int | None = None) -> None:
        self.columns = [probe.id for probe in PROBES]
        self.fail_after = fail_after
        self.asked: list[str] = []

    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        if example is None:
            return [0.05, 0.25]
        if len(self.asked) == self.fail_after:
            raise Stopped
        self.asked.append(example.id)
        whole = [int(example.rationale) / 10, int(example.rationale) / 10 + 0.1]
        return whole if places is None else [whole[place] for place in places]


class FlatScorer(DraftByDraft):
    """Every draft is worth nothing on both probes."""

    columns = tuple(probe.id for probe in PROBES)

    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        return [0.0] * len(self.columns if places is None else places)


class NoisyScorer(DraftByDraft):
    """Twelve probes; a draft has a level of its own, and each of its values is off by a draw of half its spread."""

    columns = tuple(f"p{number:02d}" for number in range(12))

    def __init__(self, fail_after: int | None = None) -> None:
        self.fail_after = fail_after
        self.calls: list[tuple[str, int]] = []

    def whole(self, name: str) -> Floats:
        draw = np.random.default_rng(zlib.crc32(name.encode()))
        return draw.normal() + draw.normal(0, 0.5, len(self.columns))

    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        if example is None:
            return [0.125] * len(self.columns)
        if len(self.calls) == self.fail_after:
            raise Stopped
        asked = range(len(self.columns)) if places is None else places
        self.calls.append((example.id, len(asked)))
        return [float(value) for value in self.whole(example.id)[list(asked)]]


@pytest.fixture
def elicited(tmp_path: Path) -> Path:
    folder = tmp_path / "elicit"
    folder.mkdir()
    write_rows(folder / "questions.jsonl", QUESTIONS)
    write_rows(folder / "rationales.jsonl", RATIONALES)
    return folder


def work(elicited: Path, task: Task, scorer: TableScorer | FlatScorer | NoisyScorer, **settings: object) -> Figures:
    folder = elicited.parent / "prefer"
    folder.mkdir(exist_ok=True)
    chosen = Prefer.model_validate({"question_pairs": 0} | settings)
    return prefer(StageFolder(folder, False), elicited, scorer, [], task, chosen, 1, seed=0)


@pytest.mark.parametrize(
    ("score", "zero_shot"), [("icl_logprob", (0.05, 0.25)), ("icl_accuracy", (0.0, 0.0))], ids=["gain", "as it is"]
)
def test_scores_by_hand(
    tmp_path: Path, elicited: Path, starter: Task, score: str, zero_shot: tuple[float, float]
) -> None:
    scorer = TableScorer()
    work(elicited, starter, scorer, score=score)
    assert scorer.asked == [row.id for row in ACCEPTED]
    rows = read_rows(tmp_path / "prefer" / "scores.jsonl", Score)
    expected = []
    for draft in ACCEPTED:
        expected.append((draft.id, draft.question_id, "p0", int(draft.text) / 10 - zero_shot[0]))
        expected.append((draft.id, draft.question_id, "p1", int(draft.text) / 10 + 0.1 - zero_shot[1]))
    assert [(row.rationale_id, row.question_id, row.probe_id) for row in rows] == [row[:3] for row in expected]
    assert [row.value for row in rows] == pytest.approx([row[3] for row in expected])
    assert len(rows) == 2 * 14
    baseline = json.loads((tmp_path / "prefer" / "baseline.json").read_text(encoding="utf-8"))
    assert baseline == {"p0": 0.05, "p1": 0.25}


def test_pairs_follow_from_the_scores(tmp_path: Path, elicited: Path, starter: Task) -> None:
    work(elicited, starter, TableScorer(), question_pairs=3)
    pairs = read_rows(tmp_path / "prefer" / "pairs.jsonl", Pair)
    # Questions 0 to 4 have means of 0.1 to 0.5 (question 1, without its worst: 0.25): a quarter of five is one.
    assert [(pair.chosen_id, pair.rejected_id) for pair in pairs[:3]] == [("q4", "q0")] * 3
    # The last rationale of each is its best by 0.2, and of question 1, whose first fell, by 0.1.
    assert [(pair.chosen_id, pair.rejected_id) for pair in pairs[3:]] == [
        ("q0-r2", "q0-r0"),
        ("q2-r2", "q2-r0"),
        ("q3-r2", "q3-r0"),
        ("q4-r2", "q4-r0"),
        ("q1-r2", "q1-r1"),
    ]


def test_no_pair_at_all_is_told_of(tmp_path: Path, elicited: Path, starter: Task) -> None:
    with pytest.raises(StageError, match=r"^14 accepted drafts gave no pair.*prefer\.margin=0\.7") as raised:
        work(elicited, starter, TableScorer(), question_pairs=5, margin=0.7)
    assert "elicit.questions" in str(raised.value)
    assert not (tmp_path / "prefer" / "pairs.jsonl").exists()


def test_a_score_that_tells_no_draft_from_another(tmp_path: Path, elicited: Path, starter: Task) -> None:
    """A student that answers no probe, whatever stands before it: 14 drafts × 2 probes of value 0."""
    with pytest.raises(StageError, match=r"^14 accepted.*=icl_accuracy all are worth the same .*\(mean 0\)") as raised:
        work(elicited, starter, FlatScorer(), score="icl_accuracy")
    assert "arte_icl_accuracy" in str(raised.value)
    assert len(read_rows(tmp_path / "prefer" / "scores.jsonl", Score)) == 28


def test_taken_up_after_any_draft_it_ends_as_if_never_stopped(tmp_path: Path, elicited: Path, starter: Task) -> None:
    work(elicited, starter, TableScorer(), question_pairs=2)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "prefer").iterdir()}
    assert {"scores.jsonl", "pairs.jsonl", "baseline.json"} <= whole.keys()
    for drafts in range(len(ACCEPTED)):
        (tmp_path / "prefer").rename(tmp_path / f"before-{drafts}")
        with pytest.raises(Stopped):
            work(elicited, starter, TableScorer(fail_after=drafts), question_pairs=2)
        again = TableScorer()
        work(elicited, starter, again, question_pairs=2)
        assert {path.name: path.read_bytes() for path in (tmp_path / "prefer").iterdir()} == whole
        committed = drafts - drafts % Prefer().drafts_at_once
        assert again.asked == [row.id for row in ACCEPTED[committed:]]


def test_a_part_of_the_table_is_asked_and_the_rest_predicted(tmp_path: Path, elicited: Path, starter: Task) -> None:
    """Of 14 drafts × 12 probes 84 may be asked: three drafts in full (36), then 4 probes of each of eleven (44)."""
    scorer = NoisyScorer()
    work(elicited, starter, scorer, evaluations=0.5, confidence=0)
    assert [asked for _, asked in scorer.calls] == [12] * 3 + [4] * 11
    rows = read_rows(tmp_path / "prefer" / "scores.jsonl", Score)
    assert len(rows) == 14 * 12
    assert sum(row.asked for row in rows) == 80
    for row in rows:
        if row.asked:
            assert row.value == pytest.approx(
                scorer.whole(row.rationale_id)[NoisyScorer.columns.index(row.probe_id)] - 0.125
            )
    truth = [scorer.whole(name).mean() for name, _ in scorer.calls]
    value = rationale_scores(rows)
    assert np.corrcoef(truth, [value[name] for name, _ in scorer.calls])[0, 1] > 0.9
    # Taken up in either phase it ends as if never stopped.
    whole = {path.name: path.read_bytes() for path in (tmp_path / "prefer").iterdir()}
    for drafts in (2, 5, 12):
        (tmp_path / "prefer").rename(tmp_path / f"before-{drafts}")
        with pytest.raises(Stopped):
            work(elicited, starter, NoisyScorer(fail_after=drafts), evaluations=0.5, confidence=0)
        work(elicited, starter, NoisyScorer(), evaluations=0.5, confidence=0)
        assert {path.name: path.read_bytes() for path in (tmp_path / "prefer").iterdir()} == whole


def test_intervals_of_pairs_are_of_asked_probes_alone(starter: Task) -> None:
    """The two drafts of a pair differ by 1 and 3 where they were asked; the interval is Student's t of these two."""
    values = {"q0-r0": (0.0, 0.0, 0.0), "q0-r1": (1.0, 2.0, 3.0)}
    scores = [
        Score(rationale_id=name, question_id="q0", probe_id=f"p{place}", value=value, asked=place != 1)
        for name, row in values.items()
        for place, value in enumerate(row)
    ]
    made = rationale_pairs(starter, {"q0": QUESTIONS[0]}, RATIONALES[:3], scores, Prefer(confidence=0.5)).made
    assert [(pair.chosen_id, pair.margin) for pair in made] == [("q0-r1", 2.0)]
    assert made[0].interval == pytest.approx((1, 3))  # 2 ± 1 · √2 / √2, as t at 0.75 with one degree is 1


def test_too_few_evaluations_are_refused(elicited: Path, starter: Task) -> None:
    with pytest.raises(StageError, match=r"prefer\.evaluations=0\.3 .*at least 0\.35$"):
        work(elicited, starter, NoisyScorer(), evaluations=0.3)


def test_which_drafts_are_scored() -> None:
    assert drafts_to_score(RATIONALES, None, 0) == ACCEPTED
    assert drafts_to_score(RATIONALES, 14, 0) == ACCEPTED
    chosen = set()
    for seed in range(8):
        drafts = drafts_to_score(RATIONALES, 6, seed)
        assert drafts == drafts_to_score(RATIONALES, 6, seed)
        names = list(dict.fromkeys(row.question_id for row in drafts))
        assert [row for row in drafts if row.question_id == names[0]] == [
            row for row in ACCEPTED if row.question_id == names[0]
        ]
        assert len(drafts) == 6
        assert len(names) == (3 if "q1" in names[:2] else 2)  # whole questions: of three drafts, or q1's two
        chosen.add(names[0])
    assert len(chosen) > 1


def test_questions_with_several_drafts_are_scored_first() -> None:
    lonely = [row for row in ACCEPTED if row.question_id in ("q2", "q4") or row.id.endswith("r2")]
    assert Counter(row.question_id for row in lonely) == {"q0": 1, "q1": 1, "q2": 3, "q3": 1, "q4": 3}
    for seed in range(8):
        drafts = drafts_to_score(lonely, 7, seed)
        assert {row.question_id for row in drafts[:6]} == {"q2", "q4"}
        assert drafts[6].question_id in {"q0", "q1", "q3"}


def test_a_draft_as_an_example() -> None:
    assert as_example(QUESTIONS[2], RATIONALES[7]) == Example(
        id="q2-r1", question="Question 2?", rationale="3", answer="1"
    )
