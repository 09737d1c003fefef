"""Figures as people read them: shares, points, nats, sizes, durations, each with its unit."""

import re

from arte.report.statistics import Spread


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def signed(number: float, digits: int = 1) -> str:
    """With its sign: `+1.2`, `−3.0`, `0.0`."""
    text = f"{abs(number):.{digits}f}"
    if float(text) == 0:
        return text
    return f"+{text}" if number > 0 else f"−{text}"


def points(share: float) -> str:
    return f"{signed(100 * share)} points"


def interval(ci95: tuple[float, float], scale: float = 100.0) -> str:
    """The bounds in percent or points, `33.0 to 42.5`."""
    low, high = (f"{scale * bound:.1f}".replace("-", "−") for bound in ci95)
    return f"{low} to {high}"


def nats(loss: float) -> str:
    return f"{loss:.3f}"


def signed_nats(difference: float) -> str:
    return f"{signed(difference, 3)} nats"


def nats_interval(ci95: tuple[float, float]) -> str:
    """The bounds in nats, `−0.312 to −0.104`."""
    low, high = (f"{bound:.3f}".replace("-", "−") for bound in ci95)
    return f"{low} to {high}"


def together(text: str) -> str:
    """The text with its units kept on the line of their numbers."""
    return re.sub(r"(?<=\d) (?=%|points|test problems)", "\N{NO-BREAK SPACE}", text)


def size(count: int | None) -> str:
    """Bytes in MB or GB (powers of ten, as file listings and download pages count)."""
    if count is None:
        return "–"
    if count >= 10**9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 10**7 else f"{count / 1e6:.1f} MB"


def whole(number: float | None, digits: int = 0) -> str:
    return "–" if number is None else f"{number:,.{digits}f}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def spread(found: Spread | None, digits: int = 0) -> str:
    """Median, and the range behind it where there is more than one value."""
    if found is None:
        return "–"
    if found.count == 1:
        return f"{found.median:,.{digits}f}"
    return f"{found.median:,.{digits}f} ({found.min:,.{digits}f}–{found.max:,.{digits}f})"


def with_error(value: float | None, standard_error: float | None) -> str:
    """`0.412 ± 0.021`: a score of lm-eval and its standard error."""
    if value is None:
        return "–"
    error = "" if standard_error is None else f" ± {standard_error:.3f}"
    return f"{value:.3f}{error}"


def change(found: float | None, ci95: tuple[float, float] | None) -> str:
    """`−0.020 (−0.031 to −0.008)`."""
    if found is None or ci95 is None:
        return "–"
    return f"{signed(found, 3)} ({signed(ci95[0], 3)} to {signed(ci95[1], 3)})"
