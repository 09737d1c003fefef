"""Two files in turn, round by round: a ratio is taken within a round, where both met the same machine."""

from collections.abc import Callable, Sequence

import numpy as np

from arte_export import bench, bench_engine
from arte_export.measurement import Frozen
from arte_export.spread import Spread, spread


class Ratio(Frozen):
    """How a is to b in one figure: the ratio of their medians, one of each round."""

    figure: str
    a: float
    b: float
    """Medians over all rounds."""
    ratio: Spread


def versus(a: bench.Subject, b: bench.Subject, plan: bench.Plan, say: bench.Say) -> tuple[list[Ratio], list[str]]:
    """Ratios a / b of ttft_s, pp_tok_s and tg_tok_s, and what disturbed the rounds. The first to go changes by round.

    Raises what bench.measure raises.
    """
    for each in (a, b):
        bench.check_room_in_memory(each)
    gathered = [bench.started(plan), bench.started(plan)]
    rounds: list[tuple[bench_engine.Runs, bench_engine.Runs]] = []
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}")
        runs: dict[int, bench_engine.Runs] = {}
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            runs[place] = bench.one_round((a, b)[place], gathered[place], plan, seed=number)
        rounds.append((runs[0], runs[1]))
    unsteady = [
        f"{each.path.name}: {line}" for each, found in zip((a, b), gathered, strict=True) for line in found.unsteady
    ]
    return ratios(rounds), list(dict.fromkeys(unsteady))


def ratios(rounds: Sequence[tuple[bench_engine.Runs, bench_engine.Runs]]) -> list[Ratio]:
    """The three ratios of at least one round."""
    figures: dict[str, Callable[[bench_engine.Runs], list[float]]] = {
        "ttft_s": lambda run: run.ttft_s,
        "pp_tok_s": lambda run: run.tests[0].tok_s,
        "tg_tok_s": lambda run: run.tests[1].tok_s,
    }
    found = []
    for name, values in figures.items():
        medians = np.array([[float(np.median(values(run))) for run in pair] for pair in rounds])
        middle = np.median(medians, axis=0)
        found.append(
            Ratio(
                figure=name,
                a=float(middle[0]),
                b=float(middle[1]),
                ratio=spread((medians[:, 0] / medians[:, 1]).tolist()),
            )
        )
    return found
