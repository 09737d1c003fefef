"""What a student is really trained on, held against everything it is judged by.

Drafts are checked when they are written (arte.stages.checks); seeds, variants and exercises join them later, and a test
may be one of lm-eval's. So the examples themselves are looked at, question and reply, just before they are trained on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from arte.rows import Example, Item, Row
from arte.stages.checks import folded, runs

SHOWN = 3


class Passage(NamedTuple):
    """A text that a student is judged by, and whose it is."""

    id: str
    text: str


class Overlap(Row):
    """One arm's examples against one test. An example shares with a test where so many words stand in a row in both."""

    arm: str
    test: str
    examples: int
    items: int
    words: int
    shared: int
    """Examples that share with an item of the test."""
    beyond_seeds: int
    """Of these, such that share words that no seed has: what the seeds hold too is the wording of the task."""
    contained: list[str]
    """Where an example holds a whole item: `EXAMPLE holds ITEM: its first words`."""


def items_of(items: Sequence[Item]) -> list[Passage]:
    return [Passage(item.id, item.question) for item in items]


def measure(
    trained: Mapping[str, Sequence[Example]],
    tests: Mapping[str, Sequence[Passage]],
    seeds: Sequence[Item],
    words: int,
) -> list[Overlap]:
    """Every arm against every test.

    An item is contained where it stands in an example word for word, but for case and white space; one of fewer than
    `words` words only where it is the whole question, as short ones stand in many a text by themselves.
    """
    usual = {run for seed in seeds for run in runs(seed.question, words)}
    found = []
    for test, passages in tests.items():
        runs_of = [set(runs(passage.text, words)) for passage in passages]
        times = Counter(run for those in runs_of for run in those)
        rarest: dict[tuple[str, ...], list[int]] = {}
        for place, those in enumerate(runs_of):  # a text that holds an item holds its rarest run too
            if those:
                rarest.setdefault(min(those, key=lambda run: (times[run], run)), []).append(place)
        whole = [folded(passage.text) for passage in passages]
        for arm, examples in trained.items():
            shared = beyond = 0
            contained: list[str] = []
            for example in examples:
                text = f"{example.question}\n{example.rationale}\n{example.answer}"
                common = {run for run in {*runs(text, words), *runs(example.question, words)} if run in times}
                shared += bool(common)
                beyond += not common <= usual
                own, asked = f" {folded(text)} ", folded(example.question)
                contained += [
                    f"{example.id} holds {passages[place].id}: {passages[place].text[:60]!r}"
                    for place in sorted(place for run in common for place in rarest.get(run, []))
                    if (f" {whole[place]} " in own if len(whole[place].split()) >= words else whole[place] == asked)
                ]
            found.append(
                Overlap(
                    arm=arm,
                    test=test,
                    examples=len(examples),
                    items=len(passages),
                    words=words,
                    shared=shared,
                    beyond_seeds=beyond,
                    contained=contained,
                )
            )
    return found


def problem(found: Sequence[Overlap]) -> str | None:
    """What to tell where a student would be trained on what it is judged by; None where none would."""
    bad = [overlap for overlap in found if overlap.contained]
    if not bad:
        return None
    lines = ["students would be trained on what they are judged by:"]
    for overlap in bad:
        lines += [f"  {overlap.arm}, {overlap.test}: {where}" for where in overlap.contained[:SHOWN]]
        if len(overlap.contained) > SHOWN:
            lines.append(f"  {overlap.arm}, {overlap.test}: and {len(overlap.contained) - SHOWN} more (overlap.json)")
    lines.append("  take these items out of the seeds or out of the test; where a teacher drafted them, another seed=")
    return "\n".join(lines)
