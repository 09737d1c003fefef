from pathlib import Path

import pytest
from arte_export.energy import Meter


def package(sys: Path, name: str, micro_joules: int, most: int = 10_000_000) -> None:
    folder = sys / "powercap" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(f"{micro_joules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")


def battery(sys: Path, status: str, micro_watt_hours: int) -> None:
    folder = sys / "power_supply" / "BAT0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text(status + "\n")
    (folder / "energy_now").write_text(f"{micro_watt_hours}\n")


def test_packages_are_added_and_a_counter_that_began_anew_is_understood(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 1_000_000)
    package(tmp_path, "intel-rapl:1", 9_500_000)
    package(tmp_path, "intel-rapl:0:0", 77)  # the cores of package 0: in its figure already
    meter = Meter(tmp_path)
    before = meter.read()
    package(tmp_path, "intel-rapl:0", 3_500_000)
    package(tmp_path, "intel-rapl:1", 500_000)
    # 2.5 J, and from 9.5 over the end at 10 to 0.5: 1 J
    assert meter.since(before) == pytest.approx(3.5)


def test_a_battery_counts_while_it_discharges(tmp_path: Path) -> None:
    battery(tmp_path, "Discharging", 50_000_000)
    meter = Meter(tmp_path)
    before = meter.read()
    assert meter.since(before) is None  # it has not moved: that is not 0 joules
    battery(tmp_path, "Discharging", 49_900_000)
    assert meter.since(before) == pytest.approx(360.0)  # 0.1 Wh
    battery(tmp_path, "Charging", 49_000_000)
    assert meter.since(before) is None


def test_no_counter_is_none_and_not_zero(tmp_path: Path) -> None:
    meter = Meter(tmp_path)
    assert meter.since(meter.read()) is None
    package(tmp_path, "intel-rapl:0", 5)
    (tmp_path / "powercap" / "intel-rapl:0" / "energy_uj").unlink()  # as where only root may read it
    meter = Meter(tmp_path)
    assert meter.since(meter.read()) is None
