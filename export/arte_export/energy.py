"""Energy from the counters that Linux offers: RAPL of the processor packages, or the battery while it discharges.

RAPL (Documentation/power/powercap): energy_uj counts micro-joules of a package and begins anew at
max_energy_range_uj; most systems let only root read it. Batteries (Documentation/ABI/testing/sysfs-class-power):
energy_now in micro-watt-hours.
"""

from pathlib import Path
from typing import NamedTuple

SYS = Path("/sys/class")
BATTERY_STEP_J = 3600 * 1e-6 * 10_000  # counters of batteries move by about 10 mWh; less says nothing


class Reading(NamedTuple):
    """Counters by name: value and the value at which it begins anew, both in joules."""

    packages: dict[str, tuple[float, float]]
    battery_j: float | None


class Meter:
    """Reads the counters below `sys`; a machine without any reads nothing, and `since` gives None."""

    def __init__(self, sys: Path = SYS) -> None:
        self._packages = [
            folder for folder in sorted((sys / "powercap").glob("intel-rapl:*")) if folder.name.count(":") == 1
        ]
        self._batteries = sorted((sys / "power_supply").glob("BAT*"))

    def read(self) -> Reading:
        """What the counters say now."""
        packages = {}
        for folder in self._packages:
            value, most = _number(folder / "energy_uj"), _number(folder / "max_energy_range_uj")
            if value is not None and most is not None:
                packages[folder.name] = (value * 1e-6, most * 1e-6)
        left = [
            value * 3600e-6
            for folder in self._batteries
            if _text(folder / "status") == "Discharging" and (value := _number(folder / "energy_now")) is not None
        ]
        return Reading(packages, sum(left) if left else None)

    def since(self, before: Reading) -> float | None:
        """Joules since a reading; None without a counter, or where the battery's has not moved enough to tell."""
        now = self.read()
        if before.packages and before.packages.keys() == now.packages.keys():
            return sum(
                (value - before.packages[name][0]) % most if most else value - before.packages[name][0]
                for name, (value, most) in now.packages.items()
            )
        if before.battery_j is not None and now.battery_j is not None:
            spent = before.battery_j - now.battery_j
            return spent if spent >= BATTERY_STEP_J else None
        return None


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text is not None and text.isdigit() else None
