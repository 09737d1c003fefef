"""Preference collection (paper, section 3.2): what the student makes of each draft, and the pairs that follow."""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from arte.errors import StageError
from arte.jsonl import RowLog
from arte.preference import Score as Scorer
from arte.preference.pairs import ONE_SIGN, prompt_pairs, question_pairs, rationale_pairs
from arte.preference.partial_table import Floats, Spending, moments, predict, spend, telling
from arte.progress import progress
from arte.recipe import Prefer
from arte.rows import Example, Item, Pair, Question, Rationale, Score, read_rows, write_rows
from arte.tasks.mixture import by_task, grouped
from arte.tasks.task import Taught
from arte.workspace import Figures, StageFolder

LEAST_PROBES = 2
"""That a draft is asked of: an interval needs two."""


class _Part(NamedTuple):
    """The drafts of one task, the places of the columns that they are asked of, and how many of them."""

    drafts: list[Rationale]
    columns: list[int]
    spending: Spending


def score(
    folder: StageFolder,
    drafted: Path,
    drafts: Sequence[Rationale],
    scorer: Scorer,
    probes: Sequence[Item],
    settings: Prefer,
    seed: int,
) -> list[Score]:
    """Writes baseline.json (value of each probe with no draft) and scores.jsonl (draft by probe), and gives the rows.

    `drafted` is the folder of an elicit or tailor stage, `drafts` are of its accepted rationales, `probes` what the
    scorer asks: of them, a draft is asked of those of its own task. Under icl_logprob a value is the gain over
    zero-shot. Where not all of the table is asked (prefer.evaluations), what is left is predicted. Raises StageError
    where that leaves too few probes for a draft.
    """
    questions = {row.id: row for row in read_rows(drafted / "questions.jsonl", Question)}
    log = RowLog(folder.path / "scores.jsonl", Score)
    names = list(scorer.columns)
    [zero_shot] = scorer.table([None])
    (folder.path / "baseline.json").write_text(json.dumps(dict(zip(names, zero_shot, strict=True))), encoding="utf-8")
    subtracted = np.array(zero_shot) if settings.score == "icl_logprob" else np.zeros(len(names))
    parts = _parts(drafts, questions, names, probes, settings.evaluations, seed)
    done, scored = log.batches_done, 0
    with progress("drafts scored", len(drafts)) as told:
        for part in parts:
            pilot, columns = part.spending.pilot, part.columns
            batches = [
                those[start : start + settings.drafts_at_once]
                for those in (pilot, part.spending.others)
                for start in range(0, len(those), settings.drafts_at_once)
            ]
            known: tuple[Floats, Floats] | None = None
            asked = list(range(len(columns)))
            scored += sum(map(len, batches[:done]))
            for batch in batches[done:]:
                if known is None and batch[0] not in pilot:
                    ids = {part.drafts[place].id for place in pilot}
                    whole_rows = [row.value for row in log.rows if row.rationale_id in ids]
                    known = moments(np.reshape(whole_rows, (len(pilot), len(columns))))
                    asked = telling(known[1], part.spending.each)
                values = np.full((len(batch), len(columns)), np.nan)
                those = [part.drafts[place] for place in batch]
                examples = [as_example(questions[draft.question_id], draft) for draft in those]
                places = [columns[number] for number in asked]
                values[:, asked] = np.subtract(scorer.table(examples, places), subtracted[places])
                whole = values if known is None else predict(values, *known).values
                log.append_batch(
                    [
                        Score(
                            rationale_id=draft.id,
                            question_id=draft.question_id,
                            probe_id=names[column],
                            value=float(whole[row, number]),
                            asked=number in asked,
                        )
                        for row, draft in enumerate(those)
                        for number, column in enumerate(columns)
                    ]
                )
                scored += len(batch)
                told(scored)
            done = max(0, done - len(batches))
    return log.rows


def _parts(
    drafts: Sequence[Rationale],
    questions: Mapping[str, Question],
    names: Sequence[str],
    probes: Sequence[Item],
    evaluations: float,
    seed: int,
) -> list[_Part]:
    """Task by task; a score that asks no probe has one column, which is every task's."""
    tasks = {probe.id: probe.task for probe in probes}
    parts = []
    for task, those in grouped(drafts, lambda draft: questions[draft.question_id].task).items():
        columns = [place for place, name in enumerate(names) if tasks.get(name, task) == task]
        spending = spend(len(those), len(columns), evaluations, seed)
        if _too_few(spending):
            shares = (share / 100 for share in range(1, 101))
            enough = next(share for share in shares if not _too_few(spend(len(those), len(columns), share, seed)))
            of_task = f" of {task}" if task else ""
            raise StageError(
                f"prefer.evaluations={evaluations} leaves {spending.each} probes for each of {len(spending.others)} "
                f"drafts{of_task}; no difference can be told by fewer than {LEAST_PROBES}: ask at least {enough}"
            )
        parts.append(_Part(those, columns, spending))
    return parts


def _too_few(spending: Spending) -> bool:
    return bool(spending.others) and spending.each < LEAST_PROBES


def prefer(
    folder: StageFolder,
    elicited: Path,
    scorer: Scorer,
    probes: Sequence[Item],
    task: Taught,
    settings: Prefer,
    per_prompt: int,
    seed: int,
) -> Figures:
    """Scores the drafts of an elicit stage, and writes pairs.jsonl, and dropped.json: how many pairs were not made, by
    level and reason.

    Both sides of a pair are of one task, as scores of two are not comparable. `per_prompt` questions make a side of a
    question pair. Raises StageError where the drafts give no pair at all.
    """
    questions = read_rows(elicited / "questions.jsonl", Question)
    rationales = read_rows(elicited / "rationales.jsonl", Rationale)
    parts = []
    for those in by_task(questions).values():
        known = {row.id: row for row in those}
        drafted = [row for row in rationales if row.question_id in known]
        parts.append((known, drafted, drafts_to_score(drafted, settings.drafts, seed)))
    scores = score(folder, elicited, [row for *_, drafts in parts for row in drafts], scorer, probes, settings, seed)
    pairs: list[Pair] = []
    dropped: dict[str, Counter[str]] = {"question": Counter(), "rationale": Counter()}
    for known, drafted, _ in parts:
        its = [row for row in scores if row.question_id in known]
        one = task.of(next(iter(known.values())))
        if settings.chosen == "above_zero":
            of_questions = prompt_pairs(one, known, its, settings)
        else:
            of_questions = question_pairs(one, known, its, settings, per_prompt, seed)
        of_rationales = rationale_pairs(one, known, drafted, its, settings)
        pairs += [*of_questions.made, *of_rationales.made]
        dropped["question"] += of_questions.dropped
        dropped["rationale"] += of_rationales.dropped
    (folder.path / "dropped.json").write_text(json.dumps(dropped, indent=2), encoding="utf-8")
    if not pairs:
        reasons = dropped["question"] + dropped["rationale"]
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "too few drafts for quarters"
        drafts = len({row.rationale_id for row in scores})
        if len({(row.probe_id, row.value) for row in scores}) == len({row.probe_id for row in scores}):
            raise StageError(
                f"{drafts} accepted drafts gave no pair: by prefer.score={settings.score} all are worth the same on "
                f"every probe (mean {fmean(row.value for row in scores):g}), so it tells none from another. Choose "
                f"another score, and leave out the arm arte_{settings.score} if it was asked for"
            )
        raise StageError(
            f"{drafts} accepted drafts gave no pair ({why}). Raise elicit.questions, task.probes, or lower "
            f"prefer.margin={settings.margin} or prefer.confidence={settings.confidence}{_sign(dropped['question'])}"
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
    return Example(
        task=question.task, id=rationale.id, question=question.text, rationale=rationale.text, answer=rationale.answer
    )
