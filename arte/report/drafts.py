"""What became of the drafts: how many fell and why, what the student's preference said, the best and the worst."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Literal

from arte import tasks
from arte.arms import drafts_folder
from arte.recipe import Recipe
from arte.report.contract import Data, Draft, Examples, Preference, Rejected, Tally, TeacherData
from arte.report.files import document, rows_of
from arte.report.statistics import Spread
from arte.rows import REASONS, Check, Example, Pair, Question, Rationale, Score

_SHOWN = 3


def data_of(run: Path, recipe: Recipe) -> Data | None:
    """Drafts of the teacher before (elicit) and after alignment (tailor); null where nothing was drafted."""
    last = drafts_folder("arte", recipe.rounds)
    names = tasks.named(recipe.task.name)
    teachers = [
        teacher
        for teacher in (_teacher(run / "elicit", "unaligned", names), _teacher(run / last, "aligned", names))
        if teacher is not None
    ]
    if not teachers:
        return None
    examples = {arm: len(rows_of(run / "distill" / arm / "examples.jsonl", Example)) for arm in recipe.arms}
    total = _sum(teachers)
    return Data(
        **dict(total),
        teachers=teachers,
        examples={arm: count for arm, count in examples.items() if count},
        seeds=recipe.task.seeds if recipe.distill.seeds and any(examples.values()) else 0,
        seed_copies=recipe.distill.seeds,
    )


def preference_of(run: Path, recipe: Recipe) -> Preference | None:
    """The scores and pairs; null where prefer has not run."""
    scores = rows_of(run / "prefer" / "scores.jsonl", Score)
    if not scores:
        return None
    pairs = rows_of(run / "prefer" / "pairs.jsonl", Pair)
    levels = Counter(pair.level for pair in pairs)
    zero_shot = document(run / "prefer" / "baseline.json") or {}
    return Preference(
        score=recipe.prefer.score.removeprefix("icl_"),
        probes=len({score.probe_id for score in scores}),
        evaluations=sum(score.asked for score in scores),
        pairs=len(pairs),
        question_pairs=levels["question"],
        rationale_pairs=levels["rationale"],
        margin=Spread.of(pair.margin for pair in pairs),
        dropped=document(run / "prefer" / "dropped.json") or {},
        draft_scores=[score for _, score in _means(scores)],
        baseline=fmean(zero_shot.values()) if zero_shot and recipe.prefer.score.startswith("icl_") else None,
    )


def examples_of(run: Path) -> Examples | None:
    """The drafts that the student learned most and least from, in full; null where none was scored."""
    means = _means(rows_of(run / "prefer" / "scores.jsonl", Score))
    if not means:
        return None
    questions = {row.id: row for row in rows_of(run / "elicit" / "questions.jsonl", Question)}
    rationales = {row.id: row for row in rows_of(run / "elicit" / "rationales.jsonl", Rationale)}
    drafts = [
        Draft(
            id=identity,
            score=score,
            question=questions[rationale.question_id].text,
            rationale=rationale.text,
            answer=rationale.answer,
            style=rationale.style,
        )
        for identity, score in means
        if (rationale := rationales.get(identity)) is not None and rationale.question_id in questions
    ]
    shown = min(_SHOWN, len(drafts) // 2)
    return Examples(best=drafts[:shown], worst=drafts[len(drafts) - shown :][::-1]) if shown else None


def _means(scores: list[Score]) -> list[tuple[str, float]]:
    """Mean over the probes for every draft, best first; ties by id, so that a report is always the same."""
    values: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        values[score.rationale_id].append(score.value)
    return sorted(((name, fmean(found)) for name, found in values.items()), key=lambda pair: (-pair[1], pair[0]))


def _teacher(folder: Path, name: Literal["unaligned", "aligned"], names: list[str]) -> TeacherData | None:
    asked, solutions = rows_of(folder / "questions.jsonl", Question), rows_of(folder / "rationales.jsonl", Rationale)
    questions = _tally(row.check for row in asked)
    rationales = _tally(row.check for row in solutions)
    if not questions.drafted:
        return None
    fallen = Tally(drafted=questions.drafted - questions.accepted, accepted=0, rejected=questions.rejected)
    solved = {row.question_id for row in solutions if row.check.accepted}
    by_task = Counter(row.task for row in asked if row.id in solved)
    return TeacherData(
        **dict(_sum([fallen, rationales])),
        teacher=name,
        questions=questions,
        rationales=rationales,
        tasks={tasks.called(each): by_task[tasks.called(each)] for each in names} if len(names) > 1 else {},
    )


def _tally(checks: Iterable[Check]) -> Tally:
    reasons = Counter(check.reason for check in checks)
    rejected = {reason: reasons[reason] for reason in REASONS}
    return Tally(drafted=reasons.total(), accepted=reasons[None], rejected=Rejected(**rejected))


def _sum(tallies: Iterable[Tally]) -> Tally:
    tallies = list(tallies)
    return Tally(
        drafted=sum(tally.drafted for tally in tallies),
        accepted=sum(tally.accepted for tally in tallies),
        rejected=Rejected(**{reason: sum(getattr(tally.rejected, reason) for tally in tallies) for reason in REASONS}),
    )
