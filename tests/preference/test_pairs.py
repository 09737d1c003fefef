"""A table of scores, worked by hand: eight questions, one to three scored rationales each, two probes.

    question   rationales (mean over the probes)      question's mean   its own gap
    q0         r0 0.9  r1 0.7  r2 0.2                 0.6               0.7
    q1         r0 0.5  r1 0.5                         0.5               0     (a tie)
    q2         r0 0.8                                 0.8               none  (one rationale)
    q3         r0 0.1  r1 0.3                         0.2               0.2
    q4         r0 1.0  r1 0.4  (the same text)        0.7               none
    q5         r0 -0.1 r1 0.1                         0.0               0.2
    q6         r0 0.4                                 0.4               none
    q7         r0 0.3                                 0.3               none

Ranked: q2 q4 | q0 q1 q6 q7 | q3 q5, so the top quarter is {q2, q4} and the bottom quarter {q3, q5}.
"""

import json
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arte.preference.pairs import (
    _Deck,
    interval,
    prompt_pairs,
    question_pairs,
    question_scores,
    rationale_pairs,
    rationale_scores,
)
from arte.preference.pairs_used import shuffled, weighted
from arte.recipe import Prefer
from arte.rows import Check, Pair, Question, Rationale, Score
from arte.tasks import Draft, Task

TABLE: dict[str, list[float]] = {
    "q0": [0.9, 0.7, 0.2],
    "q1": [0.5, 0.5],
    "q2": [0.8],
    "q3": [0.1, 0.3],
    "q4": [1.0, 0.4],
    "q5": [-0.1, 0.1],
    "q6": [0.4],
    "q7": [0.3],
}
ACCEPTED = Check()
SCORES = [
    Score(rationale_id=f"{question}-r{number}", question_id=question, probe_id=probe, value=mean + away)
    for question, means in TABLE.items()
    for number, mean in enumerate(means)
    for probe, away in (("p0", 0.25), ("p1", -0.25))
]
QUESTIONS = {
    name: Question(
        id=name,
        text=f"Question {name}?",
        solution=None if name == "q5" else f"{name[1]} + 0 = {name[1]}",
        target=None if name == "q5" else name[1],
        prompt=json.dumps(
            [
                {"role": "user", "content": f"prompt of {name}"},
                {"role": "assistant", "content": "Problem 1: Seed?\nAnswer: 1\n\nProblem 2:"},
            ]
        ),
        check=ACCEPTED,
    )
    for name in TABLE
}
RATIONALES = [
    Rationale(
        id=f"{question}-r{number}",
        question_id=question,
        style=("steps", "brief", "child")[number],
        text=f"Text of {question}" if question == "q4" else f"Text {number} of {question}",
        answer="7",
        check=ACCEPTED,
    )
    for question, means in TABLE.items()
    for number in range(len(means))
]
UNSCORED = Rationale(id="q2-r9", question_id="q2", style="steps", text="Unscored", answer="7", check=ACCEPTED)
FALLEN = Rationale(
    id="q6-r9", question_id="q6", style="steps", text="Fallen", answer=None, check=Check(reason="unparsed")
)


def rationales_of(task: Task, **settings: float) -> list[Pair]:
    return rationale_pairs(
        task, QUESTIONS, [*RATIONALES, UNSCORED, FALLEN], SCORES, Prefer.model_validate({"margin": 0.0} | settings)
    ).made


def questions_of(task: Task, per_prompt: int, seed: int = 0, **settings: float) -> list[Pair]:
    return question_pairs(task, QUESTIONS, SCORES, Prefer.model_validate(settings), per_prompt, seed).made


def ids(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.chosen_id, pair.rejected_id) for pair in pairs]


def test_scores_are_means_of_means() -> None:
    assert len(SCORES) == 2 * (3 + 2 + 1 + 2 + 2 + 2 + 1 + 1)
    expected = {f"{q}-r{n}": mean for q, means in TABLE.items() for n, mean in enumerate(means)}
    assert rationale_scores(SCORES) == pytest.approx(expected)
    assert question_scores(SCORES) == pytest.approx(
        {"q0": 0.6, "q1": 0.5, "q2": 0.8, "q3": 0.2, "q4": 0.7, "q5": 0.0, "q6": 0.4, "q7": 0.3}
    )


def test_a_question_counts_its_rationales_not_its_probes() -> None:
    """Equation 4 is a mean over rationales: one that was asked of more probes weighs no more."""
    rows = [
        *(Score(rationale_id="a", question_id="q", probe_id=f"p{number}", value=1.0) for number in range(3)),
        Score(rationale_id="b", question_id="q", probe_id="p0", value=0.0),
    ]
    assert question_scores(rows) == {"q": 0.5}


def test_rationale_pairs_by_hand(starter: Task) -> None:
    pairs = rationales_of(starter)
    # The widest gap first; of two alike the lower id. q1 is a tie, q4's two read alike, the others have one.
    assert ids(pairs) == [("q0-r0", "q0-r2"), ("q3-r1", "q3-r0"), ("q5-r1", "q5-r0")]
    assert [pair.margin for pair in pairs] == pytest.approx([0.7, 0.2, 0.2])
    first = pairs[0]
    assert (first.level, first.chosen, first.rejected) == ("rationale", "Text 0 of q0\n#### 7", "Text 2 of q0\n#### 7")
    for pair, question in zip(pairs, ("q0", "q3", "q5"), strict=True):  # the style is erased from the prompt
        assert json.loads(pair.prompt) == starter.rationale_prompt(f"Question {question}?", None)


@pytest.mark.parametrize(("margin", "left"), [(0.0, 3), (0.19, 3), (0.21, 1), (0.69, 1), (0.71, 0)])
def test_no_rationale_pair_below_the_margin(starter: Task, margin: float, left: int) -> None:
    assert len(rationales_of(starter, margin=margin)) == left


@pytest.mark.parametrize("most", [0, 1, 2, 3, 50])
def test_at_most_so_many_rationale_pairs(starter: Task, most: int) -> None:
    assert rationales_of(starter, rationale_pairs=most) == rationales_of(starter)[:most]
    assert len(rationales_of(starter, rationale_pairs=most)) == min(most, 3)


def drafted(question_id: str) -> Draft:
    """As it stands in a reply: q5 came without solution and target."""
    number = question_id[1]
    solution, target = (None, None) if number == "5" else (f"{number} + 0 = {number}", number)
    return Draft(f"Question {question_id}?", solution, target)


def test_question_pairs_one_question_a_side(starter: Task) -> None:
    pairs = questions_of(starter, 1, question_pairs=2)
    # Two cards a deck, drawn without repetition: each question of a quarter once.
    assert sorted(pair.chosen_id for pair in pairs) == ["q2", "q4"]
    assert sorted(pair.rejected_id for pair in pairs) == ["q3", "q5"]
    mean = {"q2": 0.8, "q4": 0.7, "q3": 0.2, "q5": 0.0}
    for pair in pairs:
        assert pair.level == "question"
        assert pair.margin == pytest.approx(mean[pair.chosen_id] - mean[pair.rejected_id])
        assert json.loads(pair.prompt) == json.loads(QUESTIONS[pair.chosen_id].prompt)[:-1]
        seed, *own = starter.parse_questions(pair.chosen)
        assert seed == Draft("Seed?", None, "1")  # both sides begin as generation does
        assert own == [drafted(pair.chosen_id)]
        assert starter.parse_questions(pair.rejected) == [seed, drafted(pair.rejected_id)]


def test_question_pairs_hold_as_many_questions_as_a_prompt_asks_for(starter: Task) -> None:
    for per_prompt in (2, 5):  # a quarter holds two
        pairs = questions_of(starter, per_prompt, question_pairs=1)
        assert len(pairs) == 1
        chosen, rejected = pairs[0].chosen_id.split("+"), pairs[0].rejected_id.split("+")
        assert (sorted(chosen), sorted(rejected)) == (["q2", "q4"], ["q3", "q5"])
        assert pairs[0].margin == pytest.approx(0.75 - 0.1)
        prompt = json.loads(QUESTIONS[chosen[0]].prompt)
        assert json.loads(pairs[0].prompt) == prompt[:-1]
        assert pairs[0].chosen == starter.question_reply(prompt, [drafted(name) for name in chosen])


@pytest.mark.parametrize("most", [0, 1, 5])
def test_at_most_so_many_question_pairs(starter: Task, most: int) -> None:
    assert len(questions_of(starter, 1, question_pairs=most)) == most


def test_no_question_pair_below_the_margin(starter: Task) -> None:
    pairs = questions_of(starter, 1, question_pairs=40, margin=0.55)
    # q2 and q4 against q3 differ by 0.6 and 0.5, against q5 by 0.8 and 0.7.
    assert set(ids(pairs)) == {("q2", "q3"), ("q2", "q5"), ("q4", "q5")}
    assert min(pair.margin for pair in pairs) == pytest.approx(0.6)
    assert questions_of(starter, 1, question_pairs=40, margin=0.81) == []


def test_question_pairs_are_the_seeds(starter: Task) -> None:
    assert ids(questions_of(starter, 1, seed=1)) == ids(questions_of(starter, 1, seed=1))
    assert len({tuple(ids(questions_of(starter, 1, seed=seed, question_pairs=6))) for seed in range(5)}) > 1


def test_three_questions_have_no_quarter(starter: Task) -> None:
    few = [score for score in SCORES if score.question_id in ("q0", "q2", "q5")]
    assert question_pairs(starter, QUESTIONS, few, Prefer(), 1, 0).made == []


def test_questions_that_are_all_alike_give_no_pair(starter: Task) -> None:
    alike = [score.model_copy(update={"value": 0.5}) for score in SCORES]
    assert question_pairs(starter, QUESTIONS, alike, Prefer(), 1, 0).made == []
    assert rationale_pairs(starter, QUESTIONS, RATIONALES, alike, Prefer()).made == []


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_a_deck_repeats_nothing_until_it_is_used_up(size: int, count: int, seed: int) -> None:
    cards, count = [f"q{number}" for number in range(size)], min(count, size)
    deck = _Deck(cards, random.Random(seed))
    for _ in range(3):
        seen = [card for _ in range(size // count) for card in deck.take(count)]
        assert len(seen) == size - size % count
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(cards)


def test_an_interval_by_hand() -> None:
    """One degree of freedom: Student's t is Cauchy, its quantile the tangent. Mean 0.2, standard error 0.1."""
    low, high = interval([0.1, 0.3], 0.5) or (0, 0)
    assert (low, high) == pytest.approx((0.2 - 0.1, 0.2 + 0.1))  # tan(45°) = 1
    assert interval([0.1, 0.3], 0.9) == pytest.approx((0.2 - 0.6313752, 0.2 + 0.6313752))
    assert interval([0.4], 0.9) is None
    assert interval([0.2, 0.2, 0.2], 0.99) == pytest.approx((0.2, 0.2))


def test_no_pair_within_its_interval(starter: Task) -> None:
    """q0's best gains 0.1 and 0.3 over its worst, so its interval ends at 0 for a confidence of 2/pi * atan(2)."""
    rows = [
        Score(rationale_id=f"q0-r{number}", question_id="q0", probe_id=probe, value=value)
        for number, values in enumerate([(0.3, 0.6), (0.2, 0.3)])
        for probe, value in zip(("p0", "p1"), values, strict=True)
    ]
    edge = 2 / math.pi * math.atan(2)
    for confidence, made in ((0.0, 1), (edge - 0.01, 1), (edge + 0.01, 0), (0.99, 0)):
        found = rationale_pairs(starter, QUESTIONS, RATIONALES, rows, Prefer(confidence=confidence))
        assert len(found.made) == made
        assert found.dropped == ({} if made else {"within the interval": 1})
        if made and confidence:
            pair = found.made[0]
            assert pair.interval is not None
            assert pair.margin == pytest.approx(0.2)
            assert 0 < pair.interval[0] < pair.margin < pair.interval[1]


def test_a_score_of_one_value_a_draft_has_no_interval(starter: Task) -> None:
    rows = [score.model_copy(update={"probe_id": "draft"}) for score in SCORES if score.probe_id == "p0"]
    found = rationale_pairs(starter, QUESTIONS, RATIONALES, rows, Prefer(confidence=0.99))
    assert [pair.interval for pair in found.made] == [None] * 3


def test_what_was_dropped_and_why(starter: Task) -> None:
    found = rationale_pairs(starter, QUESTIONS, RATIONALES, SCORES, Prefer(margin=0.3, rationale_pairs=0))
    # q2, q6, q7 have one rationale; q1 is a tie, q3 and q5 differ by 0.2; q4's read alike; q0's would have been one.
    assert found.dropped == {
        "one rationale": 3,
        "below the margin": 3,
        "the same text": 1,
        "more than asked for": 1,
    }
    of_questions = question_pairs(starter, QUESTIONS, SCORES, Prefer(margin=0.55, question_pairs=40), 1, 0)
    assert len(of_questions.made) + of_questions.dropped["below the margin"] == 40
    assert of_questions.dropped["below the margin"] > 0


def test_shuffled_pairs_are_the_same_with_half_of_them_turned(starter: Task) -> None:
    pairs = rationales_of(starter) + questions_of(starter, 1, question_pairs=2)
    turned = shuffled(pairs, seed=0)
    flipped = [(a.chosen_id, a.rejected_id) == (b.rejected_id, b.chosen_id) for a, b in zip(pairs, turned, strict=True)]
    assert (len(pairs), sum(flipped)) == (5, 2)
    for before, after, exchanged in zip(pairs, turned, flipped, strict=True):
        assert after.prompt == before.prompt
        if not exchanged:
            assert after == before
            continue
        assert (after.chosen, after.rejected) == (before.rejected, before.chosen)
        assert after.margin == -before.margin
        assert before.interval is not None
        assert after.interval == (-before.interval[1], -before.interval[0])
    assert shuffled(pairs, seed=0) == turned
    assert len({tuple(pair.chosen_id for pair in shuffled(pairs, seed=seed)) for seed in range(6)}) > 1


def test_pairs_weighted_by_their_margins() -> None:
    """Margins of 0.6, 0.3, 0.1 and 0 among four: 2.4, 1.2, 0.4 and 0 times; over many draws exactly so. One with its
    labels exchanged weighs as much as before."""
    made = [
        Pair(level="question", prompt="[]", chosen="a", rejected="b", chosen_id=name, rejected_id="r", margin=margin)
        for name, margin in (("w", 0.6), ("x", -0.3), ("y", 0.1), ("z", 0.0))
    ]
    drawn = [Counter(pair.chosen_id for pair in weighted(made, seed)) for seed in range(2000)]
    assert all(sum(counts.values()) == 4 for counts in drawn)
    assert {counts["w"] for counts in drawn} == {2, 3}
    assert {counts["x"] for counts in drawn} == {1, 2}
    assert {counts["y"] for counts in drawn} == {0, 1}
    assert {counts["z"] for counts in drawn} == {0}
    for name, times in (("w", 2.4), ("x", 1.2), ("y", 0.4)):
        assert sum(counts[name] for counts in drawn) / 2000 == pytest.approx(times, abs=0.04)
    alike = [pair.model_copy(update={"margin": 0.0}) for pair in made]
    assert weighted(alike, 0) == alike


def test_chosen_questions_may_cover_the_probes(starter: Task) -> None:
    """Eight questions, two probes. By their means q0 and q1 are the best quarter, both for the first probe; the best
    for the second is q2, which takes q1's place. The lowest quarter is q6 and q7 either way."""
    values = {
        "q0": (1.0, 0.2), "q1": (0.9, 0.2), "q2": (0.1, 0.8), "q3": (0.4, 0.4),
        "q4": (0.3, 0.3), "q5": (0.2, 0.2), "q6": (0.0, 0.1), "q7": (0.0, 0.0),
    }  # fmt: skip
    rows = [
        Score(rationale_id=f"{name}-r0", question_id=name, probe_id=f"p{probe}", value=value, asked=probe == 0)
        for name, row in values.items()
        for probe, value in enumerate(row)
    ]
    for chosen, expected in (("top", {"q0", "q1"}), ("covered", {"q0", "q2"})):
        settings = Prefer.model_validate({"question_pairs": 4, "confidence": 0, "chosen": chosen})
        made = question_pairs(starter, QUESTIONS, rows, settings, 1, 0).made
        assert {pair.chosen_id for pair in made} == expected
        assert {pair.rejected_id for pair in made} == {"q6", "q7"}


def test_questions_differ_probe_by_probe(starter: Task) -> None:
    """Four questions of two rationales: the best gains (0.5, 0.1), a mean of 0.3, over the worst."""
    values = {"q0": (1.0, 0.6), "q2": (0.8, 0.8), "q3": (0.7, 0.7), "q5": (0.5, 0.5)}
    rows = [
        Score(rationale_id=f"{name}-r{number}", question_id=name, probe_id=f"p{probe}", value=value + (-1) ** number)
        for name, row in values.items()
        for number in range(2)
        for probe, value in enumerate(row)
    ]
    [pair] = question_pairs(starter, QUESTIONS, rows, Prefer(question_pairs=1, confidence=0.5), 1, 0).made
    assert (pair.chosen_id, pair.rejected_id) == ("q0", "q5")
    assert pair.interval == pytest.approx((0.3 - 0.2, 0.3 + 0.2))  # differences 0.5 and 0.1: standard error 0.2
    dropped = question_pairs(starter, QUESTIONS, rows, Prefer(question_pairs=1, confidence=0.9), 1, 0).dropped
    assert dropped == {"within the interval": 1}


UNDER_PROMPTS = {
    "p0": {"a": 0.3, "b": 0.1, "c": -0.2, "d": -0.4},
    "p1": {"e": 0.5, "f": 0.2},
    "p2": {"g": 0.25, "h": -0.05, "i": 0.0},
    "p3": {"j": -0.1},
}
"""Mean influence of questions by the prompt that they were drawn under."""
AWAY = {"b": 0.2, "c": 0.2}
"""How far a question's values on the two probes are from their mean, on either side; of others 0."""


def under_prompts(task: Task, **settings: float | str) -> tuple[list[Pair], Counter[str]]:
    questions, scores = {}, []
    for name, those in UNDER_PROMPTS.items():
        prompt = [
            {"role": "user", "content": name},
            {"role": "assistant", "content": "Problem 1: Seed?\nAnswer: 1\n\nProblem 2:"},
        ]
        for question, mean in those.items():
            questions[question] = Question(
                id=question, text=f"{question}?", target="1", prompt=json.dumps(prompt), check=ACCEPTED
            )
            for probe, sign in (("r0", 1), ("r1", -1)):
                away = sign * AWAY.get(question, 0.0) * (-1 if question == "c" else 1)
                scores.append(
                    Score(rationale_id=f"{question}-r0", question_id=question, probe_id=probe, value=mean + away)
                )
    made = prompt_pairs(task, questions, scores, Prefer.model_validate({"chosen": "above_zero"} | settings))
    return made.made, made.dropped


def test_pairs_under_one_prompt_by_the_sign_of_their_scores(starter: Task) -> None:
    """Montessori-Instruct: each above zero against each below, of the same prompt; p1 and p3 have one sign alone."""
    pairs, dropped = under_prompts(starter, confidence=0)
    assert ids(pairs) == [("a", "d"), ("a", "c"), ("b", "d"), ("b", "c"), ("g", "h")]
    assert [pair.margin for pair in pairs] == pytest.approx([0.7, 0.5, 0.5, 0.3, 0.3])
    assert dropped == {"prompts with one sign": 2}
    assert json.loads(pairs[-1].prompt) == [{"role": "user", "content": "p2"}]
    assert pairs[-1].chosen == "Problem 1: Seed?\nAnswer: 1\n\nProblem 2: g?\nAnswer: 1"
    assert pairs[-1].rejected == "Problem 1: Seed?\nAnswer: 1\n\nProblem 2: h?\nAnswer: 1"


def test_a_sign_alone_is_not_enough_where_the_difference_may_be_chance(starter: Task) -> None:
    """b and c differ by 0.7 on one probe and by -0.1 on the other: t = 0.3 / 0.4, and the interval of 90 % holds 0.
    a and c, b and d: 0.7 and 0.3, t = 2.5, where 6.3 is asked of two probes."""
    pairs, dropped = under_prompts(starter)
    assert ids(pairs) == [("a", "d"), ("g", "h")]
    assert pairs[0].interval == pytest.approx((0.7, 0.7))
    assert dropped == {"prompts with one sign": 2, "within the interval": 3}
    pairs, dropped = under_prompts(starter, confidence=0, margin=0.5, question_pairs=1)
    assert ids(pairs) == [("a", "d")]
    assert dropped == {"prompts with one sign": 2, "below the margin": 2, "more than asked for": 2}
