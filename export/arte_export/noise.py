"""Whether a machine was quiet while something was measured on it: other processes, stolen time, clock, heat, spread.

Linux tells by /proc/stat (proc(5)), /sys/devices/system/cpu and /sys/class/thermal; what a system does not tell is not
judged.
"""

import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

BUSY_CORES = 0.2  # of one core: a desktop at rest takes less
STOLEN = 0.02
CLOCK = 0.9  # of what it was at the start
HOT_C = 90.0
SPREAD = 0.10
"""(p90 − median) / median from which runs of one test disagree: about three times what a quiet machine shows."""


class Jiffies(NamedTuple):
    """Seconds of all cores since boot that were busy, and that the host took away."""

    busy: float
    stolen: float


def jiffies(stat: Path = Path("/proc/stat")) -> Jiffies | None:
    """None where the system does not tell. Guest time is part of user time already."""
    if not stat.is_file():
        return None
    numbers = [int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:]]
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _wait, irq, soft, stolen = numbers[:8]
    return Jiffies((user + nice + system + irq + soft) / tick, stolen / tick)


def clock_hz(cpus: Path = Path("/sys/devices/system/cpu")) -> float | None:
    """The mean current clock of all cores; None where the system does not tell."""
    found = [int(file.read_text()) for file in cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    return 1000.0 * sum(found) / len(found) if found else None


def hottest_c(zones: Path = Path("/sys/class/thermal")) -> float | None:
    """The hottest thermal zone in °C; None where there is none that tells."""
    found = []
    for file in zones.glob("thermal_zone*/temp"):
        try:
            found.append(int(file.read_text()) / 1000.0)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def wait_for_quiet(limit_s: float, cores: int, sleep: Callable[[float], None] = time.sleep) -> str | None:
    """Waits until other processes take less than BUSY_CORES of a core; what they took, if they never do."""
    left = limit_s
    while True:
        before = jiffies()
        sleep(0.5)
        after = jiffies()
        if before is None or after is None:
            return None
        busy = (after.busy - before.busy) / 0.5
        if busy < BUSY_CORES:
            return None
        left -= 0.5
        if left <= 0:
            return f"other processes took {busy:.1f} of {cores} cores before the measurement began"


class Watch:
    """From its making to `found`: what disturbed the child processes that ran meanwhile, while this one slept."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._jiffies, self._own, self._clock = jiffies(), _own_seconds(), clock_hz()

    def found(self, cores: int) -> list[str]:
        """A sentence for each disturbance."""
        took, now, own = max(time.monotonic() - self._start, 1e-9), jiffies(), _own_seconds() - self._own
        said = []
        if self._jiffies is not None and now is not None:
            others = (now.busy - self._jiffies.busy - own) / took
            if others > BUSY_CORES:
                said.append(f"other processes took {others:.1f} of {cores} cores")
            stolen = (now.stolen - self._jiffies.stolen) / (took * cores)
            if stolen > STOLEN:
                said.append(f"the host took away {stolen:.0%} of the processor time")
        clock = clock_hz()
        if self._clock and clock and clock < CLOCK * self._clock:
            said.append(f"the clock fell from {self._clock / 1e9:.2f} to {clock / 1e9:.2f} GHz")
        hot = hottest_c()
        if hot is not None and hot >= HOT_C:
            said.append(f"the hottest sensor reads {hot:.0f} °C")
        return said


def disagreement(name: str, values: Sequence[float]) -> str | None:
    """A sentence where runs of one test lie further apart than a quiet machine's; None for fewer than three."""
    if len(values) < 3:
        return None
    import numpy as np

    low, middle, high = (float(value) for value in np.percentile(values, [10, 50, 90]))
    apart = max(high - middle, middle - low) / middle
    return f"runs of {name} lie {apart:.0%} apart" if apart > SPREAD else None


def _own_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
