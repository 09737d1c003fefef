"""Speed and memory of each device file, and a verdict for each device, its accuracy included."""

from collections.abc import Callable, Sequence
from pathlib import Path

from arte.recipe import Bench
from arte.rows import Item
from arte.stages import bench_files
from arte.tasks.task import Taught
from arte.workspace import Figures


def bench(
    folder: Path,
    exported: Path,
    settings: Bench,
    device_names: Sequence[str],
    task: Taught,
    items: Sequence[Item],
    say: Callable[[str], None],
) -> Figures:
    """Writes measurements.jsonl and verdicts.json for the GGUF files and onnxruntime-genai folders of `exported`.

    Each file is measured in child processes while this one sleeps, end to end on `items` too. What it lost in accuracy
    is what its parity says.
    """
    from arte_export import devices
    from arte_export.bench import Plan, measure

    files = bench_files.measurable(exported)
    plan = Plan(prompt_tokens=(settings.prompt_tokens,), **settings.model_dump(exclude={"prompt_tokens", "prompts"}))
    measured = measure([bench_files.subject(file, task, items[: settings.prompts]) for file in files], plan, say)
    losses = [bench_files.accuracy_loss_points(file) for file in files]
    found = []
    for name in device_names:
        device = devices.load(name)
        found += bench_files.judged(files, measured, losses, device, device.budget, say)
    bench_files.keep(measured, [each.verdict for each in found], folder)
    return Figures()
