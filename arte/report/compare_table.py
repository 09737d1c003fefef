"""What `arte compare` prints: tables of arms and differences, and in words what is shown and what is not."""

from collections.abc import Sequence

from arte.report.notation import interval, nats, nats_interval, percent, points, signed_nats
from arte.report.pooling import Pooled, PooledDifference
from arte.report.words import ARM_MEANING, slice_title

LEVEL = 0.05


def lines(found: Sequence[Pooled]) -> list[str]:
    """For each slice the arms, the differences, and the sentences."""
    out: list[str] = []
    for each in found:
        first = each.arms[0]
        seeds = "1 seed" if first.seeds == 1 else f"{first.seeds} seeds"
        is_loss = each.metric == "loss"
        value, bounds = (nats, nats_interval) if is_loss else (percent, interval)
        metric = "loss (nats a token of the gold replies)" if is_loss else each.metric
        out += [f"{slice_title(each.slice)}: {first.n} items, {seeds}, {metric}", ""]
        width = max(len(row.arm) for row in each.arms)
        for row in each.arms:
            apart = "" if row.seeds == 1 else f"   by seed {', '.join(map(value, row.by_seed))}"
            mean = row.loss if row.accuracy is None else row.accuracy
            assert mean is not None
            out.append(f"  {row.arm:{width}s}  {value(mean):>7s}  ({bounds(row.ci95)}){apart}")
        out.append("")
        for difference in each.differences:
            name = f"{difference.a} − {difference.b}"
            out.append(
                f"  {name:{2 * width + 3}s}  {_gap(each, difference):>13s}  ({bounds(difference.ci95)})"
                f"  p {difference.p:.4f}, corrected {difference.p_corrected:.4f}"
            )
        out += ["", *sentences(each), ""]
    return out[:-1]


def sentences(found: Pooled) -> list[str]:
    """What the differences show, after correction for their number, and what they leave open."""
    if not found.differences:
        return ["Nothing to compare: one arm was evaluated."]
    count = len(found.differences)
    out = [f"Corrected for {count} comparisons (Holm), at {LEVEL:.0%}:" if count > 1 else f"At {LEVEL:.0%}:"]
    shown = [row for row in found.differences if row.p_corrected < LEVEL]
    open_ = [row for row in found.differences if row.p_corrected >= LEVEL]
    for row in shown:
        is_loss = found.metric == "loss"
        better, worse = (row.a, row.b) if (row.difference < 0) == is_loss else (row.b, row.a)
        does = "has a lower loss" if is_loss else "answers more"
        size = _gap(found, row).lstrip("+−")
        out.append(f"  shown: {better} {does} than {worse}, by {size}")
    out += [f"  open: {row.a} and {row.b} ({_gap(found, row)})" for row in open_]
    if found.arms[0].seeds == 1:
        out.append("One seed: the luck of drafting and training is in no interval. --seeds 3 would show it.")
    return out + _meaning(found.differences)


def _gap(found: Pooled, row: PooledDifference) -> str:
    return signed_nats(row.difference) if found.metric == "loss" else points(row.difference)


def _meaning(rows: Sequence[PooledDifference]) -> list[str]:
    """What the arms that were compared are."""
    named = dict.fromkeys(name for row in rows for name in (row.a, row.b))
    return [f"  {name}: {ARM_MEANING[name]}" for name in named if name in ARM_MEANING]
