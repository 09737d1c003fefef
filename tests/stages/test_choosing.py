from pathlib import Path

import pytest

from arte.arms import Choice
from arte.rows import Check, Example, Item, Question, Rationale, Score, write_rows
from arte.stages.choosing import (
    Candidate,
    accepted_examples,
    candidates,
    equal_share,
    item_as_example,
    preferred_style,
)

#   draft   style  checked as     values on two probes   mean
DRAFTS = {
    "q0-r0": ("steps", None, (0.4, 0.0)),  # 0.2
    "q0-r1": ("brief", None, (0.0, 0.6)),  # 0.3
    "q1-r0": ("steps", None, (0.2, 0.2)),  # 0.2
    "q1-r1": ("brief", "inconsistent", None),
    "q2-r0": ("steps", "unparsed", None),
    "q2-r1": ("brief", "duplicate", None),
    "q3-r0": ("steps", None, None),  # never scored
    "q3-r1": ("brief", None, (0.1, 0.0)),  # 0.05
    "q4-r0": ("steps", None, (0.0, 0.7)),  # 0.35
}


@pytest.fixture
def drafted(tmp_path: Path) -> Path:
    """An elicit folder, with its scores beside it in prefer/."""
    folder, scored = tmp_path / "elicit", tmp_path / "prefer"
    folder.mkdir()
    scored.mkdir()
    write_rows(
        folder / "questions.jsonl",
        [Question(id=f"q{n}", text=f"Question {n}?", target="1", prompt="[]", check=Check()) for n in range(5)],
    )
    write_rows(
        folder / "rationales.jsonl",
        [
            Rationale(
                id=name, question_id=name[:2], style=style, text=f"Text of {name}",
                answer=None if reason == "unparsed" else "1", check=Check.model_validate({"reason": reason}),
            )
            for name, (style, reason, _) in DRAFTS.items()
        ],
    )  # fmt: skip
    write_rows(
        scored / "scores.jsonl",
        [
            Score(rationale_id=name, question_id=name[:2], probe_id=f"p{place}", value=value)
            for name, (_, _, values) in DRAFTS.items()
            for place, value in enumerate(values or ())
        ],
    )
    return folder


def ids(found: list[Candidate]) -> list[str]:
    return [each.example.id for each in found]


def test_seeds_are_examples_too() -> None:
    item = Item(id="s1", question="How many?", rationale="1 + 1 = 2", answer="2", steps=1)
    assert item_as_example(item) == Example(id="s1", question="How many?", rationale="1 + 1 = 2", answer="2")


def test_what_an_arm_may_choose_from(drafted: Path) -> None:
    scored = drafted.parent / "prefer"
    accepted = ["q0-r0", "q0-r1", "q1-r0", "q3-r0", "q3-r1", "q4-r0"]
    assert ids(candidates(drafted, None, "random", checked=True)) == accepted
    assert [example.id for example in accepted_examples(drafted)] == accepted
    # Without the check, a wrong answer counts; what could not be read, or is there already, does not.
    unchecked = candidates(drafted, None, "random", checked=False)
    assert ids(unchecked) == ["q0-r0", "q0-r1", "q1-r0", "q1-r1", "q3-r0", "q3-r1", "q4-r0"]
    # By scores: of each question its best that was scored.
    for choice in ("best", "covered", "clustered"):
        assert ids(candidates(drafted, scored, choice, checked=True)) == ["q0-r1", "q1-r0", "q3-r1", "q4-r0"]
    # steps: 0.2, 0.2, 0.35; brief: 0.3, 0.05. The unscored draft of that style counts too.
    assert ids(candidates(drafted, scored, "style", checked=True)) == ["q0-r0", "q1-r0", "q3-r0", "q4-r0"]
    [first, *_] = candidates(drafted, scored, "random", checked=True)
    assert first.example == Example(id="q0-r0", question="Question 0?", rationale="Text of q0-r0", answer="1")
    assert first.values == {"p0": 0.4, "p1": 0.0}


def test_the_preferred_style_needs_scores() -> None:
    assert preferred_style([]) is None


def test_shares_are_equal_and_as_chosen(drafted: Path) -> None:
    scored = drafted.parent / "prefer"
    choices: tuple[Choice, ...] = ("random", "best", "covered", "style")
    arms = {choice: (choice, candidates(drafted, scored, choice, checked=True)) for choice in choices}
    for most, count in ((9, 4), (2, 2)):
        shares = equal_share(arms, most, seed=0)
        assert {len(share) for share in shares.values()} == {count}
    assert [example.id for example in shares["best"]] == ["q4-r0", "q0-r1"]
    # q4-r0 lifts the probes by 0 and 0.7; then q1-r0 lifts the first by 0.2.
    assert [example.id for example in shares["covered"]] == ["q4-r0", "q1-r0"]


def test_equal_share_by_hand() -> None:
    def drafted(arm: str, rationales: dict[str, int]) -> list[Candidate]:
        return [
            Candidate(
                Example(id=f"{arm}-{question}-{number}", question=question, rationale="r", answer="1"), "steps", {}
            )
            for question, count in rationales.items()
            for number in range(count)
        ]

    many, few = drafted("a", {"p": 3, "q": 1, "r": 2}), drafted("b", {"s": 2, "t": 1, "u": 1})
    for most, count in ((9, 4), (4, 4), (3, 3), (1, 1)):  # the poorer arm has four
        shares = equal_share({"a": ("random", many), "b": ("random", few)}, most, seed=0)
        assert [len(shares["a"]), len(shares["b"])] == [count, count]
        for arm, given in (("a", many), ("b", few)):
            taken = {example.id for example in shares[arm]}
            assert len(taken) == count
            assert taken <= set(ids(given))
            # Three questions each: none comes again before all three have been.
            assert len({example.question for example in shares[arm][:3]}) == min(count, 3)
    alone = equal_share({"a": ("random", many)}, 100, seed=0)["a"]
    turns = [sorted(example.question for example in alone[start:end]) for start, end in ((0, 3), (3, 5), (5, 6))]
    assert turns == [["p", "q", "r"], ["p", "r"], ["p"]]
    assert equal_share({"a": ("random", many)}, 100, seed=0)["a"] == alone
    assert (
        len({tuple(e.id for e in equal_share({"a": ("random", many)}, 100, seed=seed)["a"]) for seed in range(6)}) > 1
    )
