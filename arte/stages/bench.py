"""Speed and memory of each device file, and a verdict for each device, its accuracy included."""

import json
from collections.abc import Sequence
from pathlib import Path

from arte.recipe import Bench
from arte.workspace import Figures


def bench(folder: Path, exported: Path, settings: Bench, device_names: Sequence[str]) -> Figures:
    """Writes measurements.jsonl and verdicts.json for the GGUF files of `exported`.

    Each file is measured in child processes while this one sleeps. What it lost in accuracy is what its parity says.
    """
    from arte_export import bench as measuring
    from arte_export import devices
    from arte_export.gate import Parity

    measured, verdicts = [], []
    for row in json.loads((exported / "parity.json").read_text(encoding="utf-8")):
        if row["format"] != "gguf":
            continue
        measurement = measuring.measure(
            exported / row["file"],
            settings.prompt_tokens,
            settings.generated_tokens,
            settings.repeats,
            settings.threads,
        )
        measured.append(measurement)
        accuracy = Parity.model_validate(row["parity"]).task_accuracy
        lost = None if accuracy is None else -100.0 * accuracy.difference
        verdicts += [
            devices.verdict(devices.load(name), measurement, accuracy_loss_points=lost).model_dump(mode="json")
            for name in device_names
        ]
    with (folder / "measurements.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(measurement.model_dump_json() + "\n" for measurement in measured)
    (folder / "verdicts.json").write_text(json.dumps(verdicts, indent=2), encoding="utf-8")
    return Figures()
