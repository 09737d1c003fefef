"""The checks on every draft: parsed, without a fault that the task sees, its answer agrees, new, and not held out.

The paper describes no filter; training on wrong or leaked drafts is what its reviewers feared most, so each fallen
draft is kept on disk with its reason.
"""

from collections import Counter
from collections.abc import Sequence

from rapidfuzz import fuzz, process, utils

from arte.rows import Check, Item
from arte.tasks.task import Task

ACCEPTED = Check()
TOO_LONG = Check(reason="too_long", detail="the prompt and an answer do not fit into the teacher's context")


def runs(text: str, words: int) -> list[tuple[str, ...]]:
    """Every so many words in a row, without case and marks. Of a text with fewer words, all of them: a short item can
    leak whole, and in no other way."""
    found = utils.default_process(text).split()
    if 0 < len(found) < words:
        return [tuple(found)]
    return [tuple(found[start : start + words]) for start in range(len(found) - words + 1)]


def folded(text: str) -> str:
    """The text without what case and white space make different."""
    return " ".join(text.casefold().split())


class QuestionCheck:
    """Checks questions one after another; what it has accepted, it compares later ones with."""

    def __init__(
        self, seeds: Sequence[Item], held_out: Sequence[Item], near_duplicate: float, contamination_words: int
    ) -> None:
        self.near_duplicate = near_duplicate
        self.words = contamination_words
        self.known: list[str] = []
        self.ids: list[str] = []
        for seed in seeds:
            self.add(seed.id, seed.question)
        # Runs of words that the seeds hold too are the task's own phrasing, which the teacher was shown, and no leak.
        shown = {run for seed in seeds for run in runs(seed.question, self.words)}
        self.held_out = {
            run: item.id for item in held_out for run in runs(item.question, self.words) if run not in shown
        }
        # An item may be made of such phrases alone, and is one that leaks all the same.
        self.whole = {folded(item.question): item.id for item in held_out}

    def add(self, question_id: str, text: str) -> None:
        """From now on, questions like this one are duplicates."""
        self.ids.append(question_id)
        self.known.append(utils.default_process(text))

    def check(self, text: str | None) -> Check:
        """What is to be said of a drafted question; None is a draft that could not be parsed."""
        if not text:
            return Check(reason="unparsed", detail="no question with an answer was found in the teacher's text")
        if (item := self.whole.get(folded(text))) is not None:
            return Check(reason="contaminated", detail=f"{item}: all of it")
        leaked = next((run for run in runs(text, self.words) if run in self.held_out), None)
        if leaked is not None:
            return Check(reason="contaminated", detail=f"{self.held_out[leaked]}: {' '.join(leaked)}")
        nearest = process.extractOne(
            utils.default_process(text),
            self.known,
            scorer=fuzz.token_sort_ratio,
            score_cutoff=100 * self.near_duplicate,
        )
        if nearest is not None:
            return Check(reason="duplicate", detail=f"{self.ids[nearest[2]]}: similarity {nearest[1] / 100:.2f}")
        return ACCEPTED


def check_rationales(task: Task, drafts: Sequence[tuple[str, str | None]]) -> list[Check]:
    """What is to be said of the rationales of one question: (solution, answer) each, in order.

    The majority is the answer that most of them give; where two answers are given equally often there is none, and
    all fall. Open answers have no majority: any that is there passes.
    """
    votes = Counter(answer for _, answer in drafts if answer is not None).most_common(2)
    majority = votes[0][0] if votes and (len(votes) == 1 or votes[0][1] > votes[1][1]) else None
    checks = []
    for solution, answer in drafts:
        if answer is None or (task.explains and not solution.strip()):
            checks.append(Check(reason="unparsed", detail="no answer can be read, or it was cut at the token limit"))
        elif (fault := task.fault(solution, answer)) is not None:
            checks.append(Check(reason="inconsistent", detail=fault))
        elif task.open_ended:
            checks.append(ACCEPTED)
        elif majority is None:
            checks.append(Check(reason="inconsistent", detail=f"answers {answer}, and no answer has a majority"))
        elif answer != majority:
            checks.append(Check(reason="inconsistent", detail=f"answers {answer}, most say {majority}"))
        else:
            checks.append(ACCEPTED)
    return checks
