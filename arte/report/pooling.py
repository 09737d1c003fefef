"""Arms of several runs side by side: every arm with its interval, every paired difference with interval and p.

Runs that differ in their seed alone are pooled: an item was then answered by several students of the same arm. Both
the luck of drafting and training (seeds) and the choice of test items are resampled, each on its own (the pigeonhole
bootstrap: Owen, Annals of Applied Statistics 1, 2007), 10,000 times. With two or three seeds that is too few to know
their spread well: read an interval that ends close to zero as open. p values are corrected by Holm's method for
the number of differences in the table. Arms of a task with open answers are compared by their losses in the same way.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from arte import arms, config
from arte.errors import DataError, WorkspaceError
from arte.recipe import Arm, Recipe
from arte.report.contract import Compared
from arte.report.files import parsed
from arte.report.graded import Sample
from arte.report.statistics import two_sided_p

METRICS: tuple[Compared, ...] = ("strict-match", "loss")
"""A run has one of them."""
RESAMPLES = 10_000
CHUNK = 500
Floats = NDArray[np.float64]


class PooledArm(BaseModel):
    """An arm's accuracy or loss (nats a token), mean over seeds and items, with a 95 % interval over both."""

    arm: str
    seeds: int
    n: int
    """Items."""
    accuracy: float | None = None
    loss: float | None = None
    by_seed: list[float]
    ci95: tuple[float, float]


class PooledDifference(BaseModel):
    """a - b on the same items by the same seeds. `p_corrected` is Holm's, over all differences of the table."""

    a: str
    b: str
    difference: float
    by_seed: list[float]
    ci95: tuple[float, float]
    p: float
    p_corrected: float


class Pooled(BaseModel):
    """One slice of the test items, by one metric."""

    slice: str
    metric: Compared
    arms: list[PooledArm]
    differences: list[PooledDifference]


class Answers(NamedTuple):
    """Right (1) or wrong (0) of an arm's students, or their losses, [seeds, items], on items in the order of their
    ids."""

    arm: str
    values: Floats


def seed_runs(run: Path) -> list[Path]:
    """The runs of a folder: itself, or those of `arte recipe --seeds`. Raises WorkspaceError where it holds none."""
    if (run / "recipe.yaml").is_file():
        return [run]
    found = sorted(run.glob("seed-*/recipe.yaml"), key=lambda path: int(path.parent.name.partition("-")[2]))
    if not found:
        raise WorkspaceError(
            f"{run}: holds no recipe.yaml and no seed-0/, seed-1/, …; expected a run folder, or one that "
            "`arte recipe --seeds N` made"
        )
    return [path.parent for path in found]


def pooled(runs: Sequence[Path]) -> list[Pooled]:
    """The test slice and the unseen one, of the arms that every seed of a run evaluated: by strict match, or by loss.

    Runs of one recipe that differ in the seed are pooled, others stand side by side as `RUN:ARM`. Raises WorkspaceError
    (no runs), DataError (nothing evaluated, or other items).
    """
    groups = _groups([single for run in runs for single in seed_runs(run)])
    out = []
    for name in ("test", "unseen"):
        for metric in METRICS:
            answers = [
                Answers(arm if len(groups) == 1 else f"{label}:{arm}", values)
                for label, those in groups.items()
                for arm, values in _answers(those, name, metric).items()
            ]
            if answers:
                arms_of = _arms(answers, metric)
                out.append(Pooled(slice=name, metric=metric, arms=arms_of, differences=_differences(answers)))
    if not out:
        raise DataError(f"{', '.join(map(str, runs))}: no arm was evaluated by every seed; run the recipe to evaluate")
    return out


def _groups(runs: Sequence[Path]) -> dict[str, list[Path]]:
    """Runs by their recipe without its seed; the label is the folder's, that of the seeds' where there are several."""
    groups: dict[str, tuple[Recipe, list[Path]]] = {}
    for run in runs:
        recipe = config.load_saved(run / "recipe.yaml")
        plain = recipe.model_copy(update={"seed": 0})
        for same, those in groups.values():
            if same == plain:
                those.append(run)
                break
        else:
            label = run.parent.name if run.name.startswith("seed-") else run.name
            while label in groups:
                label += "'"
            groups[label] = (plain, [run])
    return {label: those for label, (_, those) in groups.items()}


def _answers(runs: Sequence[Path], name: str, metric: Compared) -> dict[Arm, Floats]:
    """Arms in the usual order. Raises DataError where two students were asked other items."""
    asked: list[str] | None = None
    found: dict[Arm, list[list[float]]] = {}
    for run in runs:
        for arm in arms.MADE:
            by_id = {
                row.id: value
                for row in parsed(run / "evaluate" / arm / "samples.jsonl", Sample)
                if row.slice == name and (value := row.value(metric)) is not None
            }
            if not by_id:
                continue
            ids = sorted(by_id)
            if asked is not None and ids != asked:
                raise DataError(
                    f"{run}: arm {arm} answered {len(ids)} {name} items that are not the {len(asked)} of the others; "
                    "differences are paired by item, so compare runs with the same task.test"
                )
            asked = ids
            found.setdefault(arm, []).append([by_id[item] for item in ids])
    return {arm: np.array(found[arm]) for arm in arms.MADE if len(found.get(arm, [])) == len(runs)}


def _arms(answers: Sequence[Answers], metric: Compared) -> list[PooledArm]:
    return [
        PooledArm(
            arm=arm,
            seeds=len(values),
            n=values.shape[1],
            accuracy=None if metric == "loss" else float(values.mean()),
            loss=float(values.mean()) if metric == "loss" else None,
            by_seed=values.mean(axis=1).tolist(),
            ci95=_interval(resampled(values)),
        )
        for arm, values in answers
    ]


def _differences(answers: Sequence[Answers]) -> list[PooledDifference]:
    found = {each.arm: each.values for each in answers}
    if all(arm in arms.MADE for arm in found):
        pairs: list[tuple[str, str]] = list(arms.comparisons(cast("list[Arm]", list(found))))
    else:  # runs of different recipes: an arm with the arm of the same name
        names = list(found)
        pairs = [
            (b, a) for place, a in enumerate(names) for b in names[place + 1 :]
            if a.partition(":")[2] == b.partition(":")[2]
        ]  # fmt: skip
    pairs = [(a, b) for a, b in pairs if found[a].shape == found[b].shape]
    means = {pair: resampled(found[pair[0]] - found[pair[1]]) for pair in pairs}
    chances = {pair: two_sided_p(values) for pair, values in means.items()}
    corrected = dict(zip(pairs, holm([chances[pair] for pair in pairs]), strict=True))
    return [
        PooledDifference(
            a=a,
            b=b,
            difference=float((found[a] - found[b]).mean()),
            by_seed=(found[a] - found[b]).mean(axis=1).tolist(),
            ci95=_interval(means[a, b]),
            p=chances[a, b],
            p_corrected=corrected[a, b],
        )
        for a, b in pairs
    ]


def resampled(values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of `values` [seeds, items] with seeds and items drawn anew, each with replacement."""
    seeds, items = values.shape
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        of_items = generator.multinomial(items, np.full(items, 1 / items), size=size)
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=size)
        means.append(((of_items @ values.T) * of_seeds).sum(axis=1) / (seeds * items))
    return np.concatenate(means)


def holm(chances: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979): the k-th smallest of m times m - k + 1, never falling."""
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    corrected = [0.0] * len(chances)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(chances) - rank) * chances[place]))
        corrected[place] = highest
    return corrected


def _interval(means: Floats) -> tuple[float, float]:
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
