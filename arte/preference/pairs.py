"""Which drafts the student prefers: from the table of draft and probe values to DPO pairs (paper, section 3.3).

The score of a rationale is its mean over probes, the score of a question the mean of its rationales' (equations 2
and 4). Questions: one from the top quarter against one from the bottom quarter. Rationales: the best of a question
against the worst of the same question, under the naive prompt, with the style prompt erased. `prompt_pairs` makes those
of Montessori-Instruct instead: of several replies to one prompt, each that helps against each that harms.

A pair is made only where the difference, taken probe by probe, lies beyond its interval: with 40 yes/no probes the best
and the worst of four equal rationales lie 16 points apart by chance. The interval is that of one difference (Student's
t); that best and worst were picked for it makes it too narrow, so a confidence is not the share of true pairs.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np

from arte.preference.selection import choose
from arte.recipe import Prefer
from arte.rows import Pair, Question, Rationale, Score
from arte.tasks.task import Draft, Task

ONE_SIGN = "prompts with one sign"
"""A reason for no pair: of the drafts under a prompt all help, or all harm."""


class Pairs(NamedTuple):
    """The pairs, and how many were dropped for which reason."""

    made: list[Pair]
    dropped: Counter[str]


def interval(differences: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """Of the mean of paired differences, two-sided, by Student's t. None where there are fewer than two."""
    if len(differences) < 2:
        return None
    from scipy.stats import t

    mean = fmean(differences)
    half = float(t.ppf(0.5 + confidence / 2, len(differences) - 1)) * stdev(differences) / len(differences) ** 0.5
    return mean - half, mean + half


def rationale_scores(scores: Sequence[Score]) -> dict[str, float]:
    """Mean value over probes of each scored rationale, by id."""
    values = defaultdict(list)
    for score in scores:
        values[score.rationale_id].append(score.value)
    return {rationale: fmean(those) for rationale, those in values.items()}


def question_scores(scores: Sequence[Score]) -> dict[str, float]:
    """Mean score of each question's scored rationales, by question id."""
    question_of = {score.rationale_id: score.question_id for score in scores}
    values = defaultdict(list)
    for rationale, value in rationale_scores(scores).items():
        values[question_of[rationale]].append(value)
    return {question: fmean(those) for question, those in values.items()}


def rationale_pairs(
    task: Task,
    questions: dict[str, Question],
    rationales: Sequence[Rationale],
    scores: Sequence[Score],
    settings: Prefer,
) -> Pairs:
    """At most `rationale_pairs` pairs, one a question: its best-scored against its worst-scored rationale.

    Questions with one scored rationale, with a gap below `margin` or within its interval, or with two that read alike
    give none. The widest gaps come first.
    """
    value = rationale_scores(scores)
    table = _table(scores)
    dropped: Counter[str] = Counter()
    by_question = defaultdict(list)
    for rationale in rationales:
        if rationale.id in value:
            by_question[rationale.question_id].append(rationale)
    pairs = []
    for question_id, those in by_question.items():
        best = max(those, key=lambda rationale: value[rationale.id])
        worst = min(those, key=lambda rationale: value[rationale.id])
        gap = value[best.id] - value[worst.id]
        bounds = interval(_differences(table[best.id], table[worst.id]), settings.confidence)
        if why := _refused(gap, bounds, settings, same_text=best.text == worst.text, alone=len(those) == 1):
            dropped[why] += 1
            continue
        assert best.answer is not None
        assert worst.answer is not None
        prompt = task.rationale_prompt(questions[question_id].text, None)
        pairs.append(
            Pair(
                level="rationale",
                prompt=json.dumps(prompt, ensure_ascii=False),
                chosen=task.completion(best.text, best.answer),
                rejected=task.completion(worst.text, worst.answer),
                chosen_id=best.id,
                rejected_id=worst.id,
                margin=gap,
                interval=bounds,
            )
        )
    pairs.sort(key=lambda pair: (-pair.margin, pair.chosen_id))
    if len(pairs) > settings.rationale_pairs:
        dropped["more than asked for"] += len(pairs) - settings.rationale_pairs
    return Pairs(pairs[: settings.rationale_pairs], dropped)


def question_pairs(
    task: Task,
    questions: dict[str, Question],
    scores: Sequence[Score],
    settings: Prefer,
    per_prompt: int,
    seed: int,
) -> Pairs:
    """At most `question_pairs` pairs: questions of the top quarter (or as many that cover the probes: prefer.chosen)
    against as many of the bottom quarter.

    A pair holds as many questions a side as a prompt asks for (fewer where a quarter holds fewer), so that its answers
    have the form they have in generation; each side's are drawn without repetition until the quarter is used up. The
    prompt is the one that the first chosen question was drawn under.
    """
    value = question_scores(scores)
    ranked = sorted(value, key=lambda question: (-value[question], question))
    quarter = len(ranked) // 4
    if not quarter:
        return Pairs([], Counter())
    table = _question_table(scores)
    dropped: Counter[str] = Counter()
    random_state = random.Random(f"question-pairs-{seed}")
    preferred = ranked[:quarter] if settings.chosen == "top" else _covering(ranked, scores, quarter)
    others = [question for question in ranked[-quarter:] if question not in preferred]
    top, bottom = _Deck(preferred, random_state), _Deck(others, random_state)
    size = min(per_prompt, quarter, len(others))
    if not size:
        return Pairs([], Counter())
    pairs = []
    for _ in range(settings.question_pairs):
        chosen, rejected = top.take(size), bottom.take(size)
        gap = fmean(value[question] for question in chosen) - fmean(value[question] for question in rejected)
        better, worse = (_mean_row([table[question] for question in side]) for side in (chosen, rejected))
        bounds = interval(_differences(better, worse), settings.confidence)
        if why := _refused(gap, bounds, settings):
            dropped[why] += 1
            continue
        pairs.append(_question_pair(task, questions, chosen, rejected, gap, bounds))
    return Pairs(pairs, dropped)


def prompt_pairs(task: Task, questions: dict[str, Question], scores: Sequence[Score], settings: Prefer) -> Pairs:
    """At most `question_pairs` pairs: under each prompt, every question with a score above zero against every one with
    a score below (Montessori-Instruct, arXiv 2410.14208), the widest gaps first.

    There the sign decides alone, against one measured loss; here a gap within its interval gives no pair.
    """
    value = question_scores(scores)
    table = _question_table(scores)
    dropped: Counter[str] = Counter()
    by_prompt = defaultdict(list)
    for question in value:
        by_prompt[questions[question].prompt].append(question)
    pairs = []
    for those in by_prompt.values():
        above = [question for question in those if value[question] > 0]
        below = [question for question in those if value[question] < 0]
        if not above or not below:
            dropped[ONE_SIGN] += 1
        for chosen in above:
            for rejected in below:
                gap = value[chosen] - value[rejected]
                bounds = interval(_differences(table[chosen], table[rejected]), settings.confidence)
                if why := _refused(gap, bounds, settings):
                    dropped[why] += 1
                    continue
                pairs.append(_question_pair(task, questions, [chosen], [rejected], gap, bounds))
    pairs.sort(key=lambda pair: (-pair.margin, pair.chosen_id, pair.rejected_id))
    if len(pairs) > settings.question_pairs:
        dropped["more than asked for"] += len(pairs) - settings.question_pairs
    return Pairs(pairs[: settings.question_pairs], dropped)


def _question_pair(
    task: Task,
    questions: dict[str, Question],
    chosen: Sequence[str],
    rejected: Sequence[str],
    gap: float,
    bounds: tuple[float, float] | None,
) -> Pair:
    prompt = json.loads(questions[chosen[0]].prompt)
    return Pair(
        level="question",
        prompt=json.dumps(prompt[:-1], ensure_ascii=False),
        chosen=task.question_reply(prompt, [_as_drafted(questions[q]) for q in chosen]),
        rejected=task.question_reply(prompt, [_as_drafted(questions[q]) for q in rejected]),
        chosen_id="+".join(chosen),
        rejected_id="+".join(rejected),
        margin=gap,
        interval=bounds,
    )


def _covering(questions: Sequence[str], scores: Sequence[Score], count: int) -> list[str]:
    """So many questions that between them help every probe, by all values, the predicted ones too."""
    rows = _question_table(scores, asked_only=False)
    probes = sorted({score.probe_id for score in scores})
    table = np.array([[rows[question][probe] for probe in probes] for question in questions])
    return [questions[place] for place in choose(table, count, "covered", seed=0)]


def _refused(
    gap: float,
    bounds: tuple[float, float] | None,
    settings: Prefer,
    *,
    same_text: bool = False,
    alone: bool = False,
) -> str | None:
    if alone:
        return "one rationale"
    if gap <= 0 or gap < settings.margin:
        return "below the margin"
    if same_text:
        return "the same text"
    return "within the interval" if bounds is not None and settings.confidence and bounds[0] <= 0 else None


def _table(scores: Sequence[Score], *, asked_only: bool = True) -> dict[str, dict[str, float]]:
    """Value of each rationale on each probe; of those that were asked, an interval of predicted ones being too
    narrow."""
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for score in scores:
        if score.asked or not asked_only:
            table[score.rationale_id][score.probe_id] = score.value
    return table


def _question_table(scores: Sequence[Score], *, asked_only: bool = True) -> dict[str, dict[str, float]]:
    """Mean over a question's rationales on each probe."""
    rows: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    table = _table(scores, asked_only=asked_only)
    for score in scores:
        rows[score.question_id][score.rationale_id] = table[score.rationale_id]
    return {question: _mean_row(list(those.values())) for question, those in rows.items()}


def _mean_row(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for probe, value in row.items():
            values[probe].append(value)
    return {probe: fmean(those) for probe, those in values.items()}


def _differences(a: Mapping[str, float], b: Mapping[str, float]) -> list[float]:
    """On the probes that both have."""
    return [value - b[probe] for probe, value in a.items() if probe in b]


def _as_drafted(question: Question) -> Draft:
    return Draft(question.text, question.solution, question.target)


class _Deck:
    """Cards drawn in random order, shuffled anew when they run out."""

    def __init__(self, cards: list[str], random_state: random.Random) -> None:
        self.cards = cards
        self.random_state = random_state
        self.left: list[str] = []

    def take(self, count: int) -> list[str]:
        """`count` different cards."""
        if len(self.left) < count:
            self.left = self.random_state.sample(self.cards, len(self.cards))
        taken, self.left = self.left[:count], self.left[count:]
        return taken
