"""`arte recommend`: the file of a run to ship to a device, what keeps a better one from it, and how to ship it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from arte.errors import WorkspaceError
from arte.stages import bench_files

if TYPE_CHECKING:
    from arte_export.budget import Budget
    from arte_export.devices import Device


def recommend(run: Path, device: "Device", budget: "Budget", say: Callable[[str], None]) -> tuple[list[str], bool]:
    """Lines for the reader, and whether a file holds the budget.

    `run` is a run folder, or one that `arte bench --out` wrote (accuracy is known of a run alone). Measurements of this
    machine are scaled to another device and stay estimates. Raises WorkspaceError where nothing was measured.
    """
    from arte_export import devices
    from arte_export import recommend as choosing
    from arte_export.measurement import Measurement
    from arte_export.verdicts import verdict

    measured_in = run / "bench" if (run / "bench").is_dir() else run
    rows = measured_in / "measurements.jsonl"
    if not rows.is_file():
        raise WorkspaceError(
            f"{run}: holds no measurements.jsonl; expected a run folder with its bench stage done, or the folder of "
            "`arte bench --out`"
        )
    measured = [Measurement.model_validate_json(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    files = [run / "export" / each.file for each in measured]
    losses = [bench_files.accuracy_loss_points(file) for file in files]
    if any(each.device != devices.THIS_MACHINE for each in measured) or device.name == devices.THIS_MACHINE:
        verdicts = [verdict(device.name, budget, each, loss) for each, loss in zip(measured, losses, strict=True)]
    else:
        verdicts = [each.verdict for each in bench_files.judged(files, measured, losses, device, budget, say)]
    candidates = [
        choosing.Candidate(each.file, each.bytes, judged, loss)
        for each, judged, loss in zip(measured, verdicts, losses, strict=True)
    ]
    found_one = choosing.recommend(candidates)
    return _lines(found_one, device.name, run), found_one.chosen is not None


def _lines(found: object, device: str, run: Path) -> list[str]:
    from arte_export.recommend import Recommendation

    assert isinstance(found, Recommendation)
    if found.chosen is None:
        assert found.other is not None
        return [
            f"no file holds the budget of {device}; {found.other.file} is nearest to it:",
            *(f"  {line}" for line in found.missed),
        ]
    chosen = found.chosen
    loss = "" if chosen.accuracy_loss_points is None else f", {-chosen.accuracy_loss_points:+.1f} points"
    kind = "holds" if chosen.verdict.result == "pass" else "misses no line of"
    lines = [f"{chosen.file} ({chosen.bytes / 1e6:,.0f} MB{loss}) {kind} the budget of {device}"]
    lines += [f"  {line.result:11s} {line.text}" for line in chosen.verdict.lines]
    if chosen.verdict.result == "estimate":
        lines.append("  estimated, not measured there: arte bench FILE --on ssh:HOST or adb:SERIAL makes it sure")
    if found.other is not None:
        known = None not in (found.other.accuracy_loss_points, chosen.accuracy_loss_points)
        lines.append(f"{found.other.file} is {'more accurate' if known else 'the next larger'}, and misses:")
        lines += [f"  {line}" for line in found.missed]
    file = run / "export" / chosen.file
    if file.exists():
        android = device.startswith(("pixel", "galaxy"))
        lines.append(f"to ship it: {f'adb push {file} /data/local/tmp/' if android else f'scp -r {file} HOST:'}")
    return lines
