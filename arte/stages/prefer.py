"""Preference collection (paper, section 3.2): what the student makes of each draft, and the pairs that follow."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arte.errors import StageError
from arte.jsonl import RowLog
from arte.preference import Score as Scorer
from arte.preference.pairs import ONE_SIGN, prompt_pairs, question_pairs, rationale_pairs
from arte.preference.partial_table import Floats, Spending, moments, predict, spend, telling
from arte.progress import progress
from arte.recipe import Prefer
from arte.rows import Example, Question, Rationale, Score, read_rows, write_rows
from arte.tasks.task import Task
from arte.workspace import Figures, StageFolder

LEAST_PROBES = 2
"""That a draft is asked of: an interval needs two."""


def score(
    folder: StageFolder, drafted: Path, drafts: Sequence[Rationale], scorer: Scorer, settings: Prefer, seed: int
) -> list[Score]:
    """Writes baseline.json (value of each probe with no draft) and scores.jsonl (draft by probe), and gives the rows.

    `drafted` is the folder of an elicit or tailor stage, `drafts` are of its accepted rationales. Under icl_logprob a
    value is the gain over zero-shot. Where not all of the table is asked (prefer.evaluations), what is left is
    predicted. Raises StageError where that leaves too few probes for a draft.
    """
    questions = {row.id: row for row in read_rows(drafted / "questions.jsonl", Question)}
    log = RowLog(folder.path / "scores.jsonl", Score)
    columns = list(scorer.columns)
    [zero_shot] = scorer.table([None])
    (folder.path / "baseline.json").write_text(json.dumps(dict(zip(columns, zero_shot, strict=True))), encoding="utf-8")
    subtracted = np.array(zero_shot) if settings.score == "icl_logprob" else np.zeros(len(columns))
    spending = spend(len(drafts), len(columns), settings.evaluations, seed)
    if _too_few(spending):
        enough = next(
            share / 100 for share in range(1, 101) if not _too_few(spend(len(drafts), len(columns), share / 100, seed))
        )
        raise StageError(
            f"prefer.evaluations={settings.evaluations} leaves {spending.each} probes for each of "
            f"{len(spending.others)} drafts; no difference can be told by fewer than {LEAST_PROBES}: ask at least "
            f"{enough}"
        )
    batches = [
        those[start : start + settings.drafts_at_once]
        for those in (spending.pilot, spending.others)
        for start in range(0, len(those), settings.drafts_at_once)
    ]
    known: tuple[Floats, Floats] | None = None
    asked = list(range(len(columns)))
    with progress("drafts scored", len(drafts)) as told:
        for batch in batches[log.batches_done :]:
            if known is None and batch[0] not in spending.pilot:
                whole_rows = [row.value for row in log.rows[: len(spending.pilot) * len(columns)]]
                known = moments(np.reshape(whole_rows, (len(spending.pilot), len(columns))))
                asked = telling(known[1], spending.each)
            values = np.full((len(batch), len(columns)), np.nan)
            examples = [as_example(questions[drafts[place].question_id], drafts[place]) for place in batch]
            values[:, asked] = np.subtract(scorer.table(examples, asked), subtracted[asked])
            whole = values if known is None else predict(values, *known).values
            log.append_batch(
                [
                    Score(
                        rationale_id=drafts[place].id,
                        question_id=drafts[place].question_id,
                        probe_id=column,
                        value=float(whole[row, number]),
                        asked=number in asked,
                    )
                    for row, place in enumerate(batch)
                    for number, column in enumerate(columns)
                ]
            )
            told(len(log.rows) // len(columns))
    return log.rows


def _too_few(spending: Spending) -> bool:
    return bool(spending.others) and spending.each < LEAST_PROBES


def prefer(
    folder: StageFolder, elicited: Path, scorer: Scorer, task: Task, settings: Prefer, per_prompt: int, seed: int
) -> Figures:
    """Scores the drafts of an elicit stage, and writes pairs.jsonl, and dropped.json: how many pairs were not made, by
    level and reason.

    `per_prompt` questions make a side of a question pair. Raises StageError where the drafts give no pair at all.
    """
    questions = {row.id: row for row in read_rows(elicited / "questions.jsonl", Question)}
    rationales = read_rows(elicited / "rationales.jsonl", Rationale)
    scores = score(folder, elicited, drafts_to_score(rationales, settings.drafts, seed), scorer, settings, seed)
    if settings.chosen == "above_zero":
        of_questions = prompt_pairs(task, questions, scores, settings)
    else:
        of_questions = question_pairs(task, questions, scores, settings, per_prompt, seed)
    of_rationales = rationale_pairs(task, questions, rationales, scores, settings)
    pairs = [*of_questions.made, *of_rationales.made]
    dropped = {"question": dict(of_questions.dropped), "rationale": dict(of_rationales.dropped)}
    (folder.path / "dropped.json").write_text(json.dumps(dropped, indent=2), encoding="utf-8")
    if not pairs:
        reasons = of_questions.dropped + of_rationales.dropped
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "too few drafts for quarters"
        drafts = len({row.rationale_id for row in scores})
        raise StageError(
            f"{drafts} accepted drafts gave no pair ({why}). Raise elicit.questions, task.probes, or lower "
            f"prefer.margin={settings.margin} or prefer.confidence={settings.confidence}{_sign(of_questions.dropped)}"
        )
    write_rows(folder.path / "pairs.jsonl", pairs)
    return Figures()


def _sign(dropped: Counter[str]) -> str:
    """What may be done where drafts of a prompt all help: any text helps a student that has learnt nothing yet."""
    if not dropped[ONE_SIGN]:
        return ""
    return ", or task.seeds, on which influence warms its student up: to one that knows nothing yet every draft helps"


def drafts_to_score(rationales: Sequence[Rationale], most: int | None, seed: int) -> list[Rationale]:
    """The accepted rationales, or `most` of them: whole questions drawn at random, those with several first.

    Only a question with several can give a pair of rationales.
    """
    accepted = [row for row in rationales if row.check.accepted]
    if most is None or len(accepted) <= most:
        return accepted
    names = sorted({row.question_id for row in accepted})
    random.Random(f"drafts-{seed}").shuffle(names)
    several = Counter(row.question_id for row in accepted)
    place = {name: (several[name] == 1, number) for number, name in enumerate(names)}
    return sorted(accepted, key=lambda row: place[row.question_id])[:most]


def as_example(question: Question, rationale: Rationale) -> Example:
    """An accepted draft as the student sees it, in context and in training."""
    assert rationale.answer is not None
    return Example(id=rationale.id, question=question.text, rationale=rationale.text, answer=rationale.answer)
