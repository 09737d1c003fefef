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
from arte.report.averages import weights
from arte.report.files import parsed
from arte.report.graded import Sample
from arte.report.scores import Compared
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
    """One slice of the test items, or one mean over tasks on all of them, by one metric."""

    slice: str
    metric: Compared
    arms: list[PooledArm]
    differences: list[PooledDifference]


class Answers(NamedTuple):
    """Right (1) or wrong (0) of an arm's students, or their losses, [seeds, items], on items in the order of their ids;
    and the task of each item."""

    arm: str
    values: Floats
    tasks: tuple[str | None, ...]


class Weighed(NamedTuple):
    """Items that are averaged among themselves, by their places, and what their mean weighs."""

    weight: float
    places: list[int]


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
    """The test slice and the unseen one, of the arms that every seed of a run evaluated, and the means over tasks where
    a run is over several: by strict match, or by loss.

    Runs of one recipe that differ in the seed are pooled, others stand side by side as `RUN:ARM`. Raises WorkspaceError
    (no runs), DataError (nothing evaluated, or other items).
    """
    groups = _groups([single for run in runs for single in seed_runs(run)])
    out = []
    for name in ("test", "unseen"):
        for metric in METRICS:
            answers = [
                each._replace(arm=each.arm if len(groups) == 1 else f"{label}:{each.arm}")
                for label, those in groups.items()
                for each in _answers(those, name, metric)
            ]
            if not answers:
                continue
            out.append(_pooled(name, metric, answers, None))
            tasks = {each.tasks for each in answers}
            if name == "test" and len(tasks) == 1:
                out += [_pooled(mean, metric, answers, parts) for mean, parts in _means(*tasks).items()]
    if not out:
        raise DataError(f"{', '.join(map(str, runs))}: no arm was evaluated by every seed; run the recipe to evaluate")
    return out


def _pooled(name: str, metric: Compared, answers: Sequence[Answers], parts: Sequence[Weighed] | None) -> Pooled:
    rows = _arms(answers, parts, metric)
    return Pooled(slice=name, metric=metric, arms=rows, differences=_differences(answers, parts))


def _means(tasks: Sequence[str | None]) -> dict[str, list[Weighed]]:
    """Means over tasks by their name, of items of these tasks; none where there is one task."""
    places: dict[str | None, list[int]] = {}
    for place, task in enumerate(tasks):
        places.setdefault(task, []).append(place)
    return {
        mean: [Weighed(share, places[task]) for task, share in shares.items()]
        for mean, shares in weights([task for task in places if task is not None]).items()
    }


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


def _answers(runs: Sequence[Path], name: str, metric: Compared) -> list[Answers]:
    """Arms in the usual order. Raises DataError where two students were asked other items."""
    asked: list[str] | None = None
    tasks: tuple[str | None, ...] = ()
    found: dict[Arm, list[list[float]]] = {}
    for run in runs:
        for arm in arms.MADE:
            by_id = {
                row.id: (row.task, value)
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
            tasks = tuple(task for _, (task, _) in sorted(by_id.items()))
            found.setdefault(arm, []).append([by_id[item][1] for item in ids])
    return [Answers(arm, np.array(found[arm]), tasks) for arm in arms.MADE if len(found.get(arm, [])) == len(runs)]


def _arms(answers: Sequence[Answers], parts: Sequence[Weighed] | None, metric: Compared) -> list[PooledArm]:
    found = []
    for arm, values, _ in answers:
        by_seed = _by_seed(values, parts)
        mean = float(by_seed.mean())
        found.append(
            PooledArm(
                arm=arm,
                seeds=len(values),
                n=values.shape[1] if parts is None else sum(len(part.places) for part in parts),
                accuracy=None if metric == "loss" else mean,
                loss=mean if metric == "loss" else None,
                by_seed=by_seed.tolist(),
                ci95=_interval(resampled(values, parts)),
            )
        )
    return found


def _by_seed(values: Floats, parts: Sequence[Weighed] | None) -> Floats:
    """Mean over items [seeds]."""
    if parts is None:
        return np.asarray(values.mean(axis=1))
    return sum((part.weight * values[:, part.places].mean(axis=1) for part in parts), np.zeros(len(values)))


def _differences(answers: Sequence[Answers], parts: Sequence[Weighed] | None) -> list[PooledDifference]:
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
    means = {pair: resampled(found[pair[0]] - found[pair[1]], parts) for pair in pairs}
    chances = {pair: two_sided_p(values) for pair, values in means.items()}
    corrected = dict(zip(pairs, holm([chances[pair] for pair in pairs]), strict=True))
    return [
        PooledDifference(
            a=a,
            b=b,
            difference=float(_by_seed(found[a] - found[b], parts).mean()),
            by_seed=_by_seed(found[a] - found[b], parts).tolist(),
            ci95=_interval(means[a, b]),
            p=chances[a, b],
            p_corrected=corrected[a, b],
        )
        for a, b in pairs
    ]


def resampled(
    values: Floats, parts: Sequence[Weighed] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Means of `values` [seeds, items] with seeds and items drawn anew, each with replacement; items within their part,
    where there are several."""
    seeds, items = values.shape
    parts = parts or [Weighed(1.0, list(range(items)))]
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        by_seed = np.zeros((size, seeds))
        for weight, places in parts:
            count = len(places)
            of_items = generator.multinomial(count, np.full(count, 1 / count), size=size)
            by_seed += weight * (of_items @ values[:, places].T) / count
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=size)
        means.append((by_seed * of_seeds).sum(axis=1) / seeds)
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
