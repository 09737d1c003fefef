"""Preference collection (paper, section 3.2): what the student makes of each draft, and the pairs that follow."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from arte.errors import StageError
from arte.jsonl import RowLog
from arte.preference import Score as Scorer
from arte.preference.pairs import question_pairs, rationale_pairs
from arte.progress import progress
from arte.recipe import Prefer
from arte.rows import Example, Question, Rationale, Score, read_rows, write_rows
from arte.tasks.task import Task
from arte.workspace import Figures, StageFolder

DRAFTS_A_BATCH = 4
"""Drafts between two commits to disk; a killed run scores at most these again."""


def score(
    folder: StageFolder, drafted: Path, scorer: Scorer, settings: Prefer, most: int | None, seed: int
) -> list[Score]:
    """Writes baseline.json (value of each probe with no draft) and scores.jsonl (draft by probe), and gives the rows.

    `drafted` is the folder of an elicit or tailor stage; `most`: so many of its drafts. Under icl_logprob a value is
    the gain over zero-shot.
    """
    questions = {row.id: row for row in read_rows(drafted / "questions.jsonl", Question)}
    rationales = read_rows(drafted / "rationales.jsonl", Rationale)
    drafts = drafts_to_score(rationales, most, seed)
    log = RowLog(folder.path / "scores.jsonl", Score)
    zero_shot = scorer.values(None)
    baseline = dict(zip(scorer.columns, zero_shot, strict=True))
    (folder.path / "baseline.json").write_text(json.dumps(baseline), encoding="utf-8")
    subtracted = zero_shot if settings.score == "icl_logprob" else [0.0] * len(zero_shot)
    with progress("drafts × probes", len(drafts) * len(zero_shot)) as told:
        while (start := log.batches_done * DRAFTS_A_BATCH) < len(drafts):
            rows = []
            for draft in drafts[start : start + DRAFTS_A_BATCH]:
                values = scorer.values(as_example(questions[draft.question_id], draft))
                rows += [
                    Score(rationale_id=draft.id, question_id=draft.question_id, probe_id=column, value=value - zero)
                    for column, value, zero in zip(scorer.columns, values, subtracted, strict=True)
                ]
            log.append_batch(rows)
            told(len(log.rows))
    return log.rows


def prefer(
    folder: StageFolder, elicited: Path, scorer: Scorer, task: Task, settings: Prefer, per_prompt: int, seed: int
) -> Figures:
    """Scores the drafts of an elicit stage, and writes pairs.jsonl, and dropped.json: how many pairs were not made, by
    level and reason.

    `per_prompt` questions make a side of a question pair. Raises StageError where the drafts give no pair at all.
    """
    scores = score(folder, elicited, scorer, settings, settings.drafts, seed)
    questions = {row.id: row for row in read_rows(elicited / "questions.jsonl", Question)}
    rationales = read_rows(elicited / "rationales.jsonl", Rationale)
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
            f"prefer.margin={settings.margin} or prefer.confidence={settings.confidence}"
        )
    write_rows(folder.path / "pairs.jsonl", pairs)
    return Figures()


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
