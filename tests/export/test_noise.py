import subprocess
import sys
import time
from pathlib import Path

import pytest
from arte_export import noise


def test_jiffies_by_hand(tmp_path: Path) -> None:
    # user 100, nice 20, system 30, idle 999, iowait 5, irq 1, softirq 2, steal 7; guest 50 is in user already
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 999 5 1 2 7 50 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    found = noise.jiffies(stat)
    assert found is not None
    tick = 100  # USER_HZ of every Linux architecture that Python runs on
    assert (found.busy * tick, found.stolen * tick) == pytest.approx((153, 7))
    assert noise.jiffies(tmp_path / "none") is None


def test_clock_and_heat_by_hand(tmp_path: Path) -> None:
    for place, value in enumerate((2_000_000, 3_000_000)):
        folder = tmp_path / f"cpu{place}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{value}\n")
        zone = tmp_path / f"thermal_zone{place}"
        zone.mkdir()
        (zone / "temp").write_text(f"{50_000 + 1000 * place}\n")
    assert noise.clock_hz(tmp_path) == 2.5e9
    assert noise.hottest_c(tmp_path) == 51.0
    assert (noise.clock_hz(tmp_path / "none"), noise.hottest_c(tmp_path / "none")) == (None, None)


def test_disagreement_by_hand() -> None:
    # percentiles 10, 50, 90 of [90, 100, 130] are 92, 100, 124: the further is 24 % from the median
    assert noise.disagreement("tg128", [100.0, 90.0, 130.0]) == "runs of tg128 lie 24% apart"
    assert noise.disagreement("tg128", [100.0, 99.0, 101.0]) is None
    assert noise.disagreement("tg128", [1.0, 2.0]) is None


@pytest.mark.skipif(noise.jiffies() is None, reason="this system has no /proc/stat, so nothing is judged by it")
def test_a_busy_process_is_found_and_an_own_child_is_not() -> None:
    spin = [sys.executable, "-c", "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"]
    other = subprocess.Popen(spin)  # not waited for, so it counts as somebody else's
    watch = noise.Watch()
    time.sleep(1.0)
    said = watch.found(cores=2)
    other.wait()
    assert [line for line in said if line.startswith("other processes took")] != []
    assert noise._own_seconds() > 1.0  # waited for now: it counts as a child of this process
