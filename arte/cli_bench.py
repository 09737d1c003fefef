"""The commands about devices: parse, call one function, print. `arte.cli` takes them up."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from arte_export.budget import Budget
    from arte_export.devices import Device as Profile

    from arte.stages.bench_files import Benched


class Shape(StrEnum):
    """How `arte bench` prints."""

    TABLE = "table"
    JSON = "json"
    LLAMA_BENCH = "llama-bench"
    MARKDOWN = "markdown"
    CSV = "csv"


Profiles = Annotated[Path | None, typer.Option("--profiles", help="A folder with device profiles of your own.")]
Device = Annotated[str, typer.Option("--device", help="A device that `arte devices` lists, or a profile's file.")]
BudgetLine = Annotated[
    str | None, typer.Option("--budget", help='In place of the profile\'s: "ttft<=1s tg>=15 rss<=600MB accuracy>=-2".')
]


def bench(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help=".gguf files, ONNX folders, or model folders (torch).")
    ],
    device: Device = "this-machine",
    budget: BudgetLine = None,
    profiles: Profiles = None,
    on: Annotated[str | None, typer.Option(help="Measure there: ssh:HOST or adb:SERIAL (GGUF files).")] = None,
    llama_bench: Annotated[
        Path | None, typer.Option(help="A llama-bench to carry to --on; else one found there, or the one built here.")
    ] = None,
    prompt: Annotated[list[int] | None, typer.Option(help="Prompt tokens (pp); may be repeated.", min=1)] = None,
    generate: Annotated[int, typer.Option(help="Generated tokens (tg).", min=1)] = 128,
    depth: Annotated[
        list[int] | None, typer.Option(help="Measure with so many tokens in the cache too.", min=1)
    ] = None,
    repeats: Annotated[int, typer.Option(help="Counted runs after a warm-up.", min=1)] = 5,
    rounds: Annotated[int, typer.Option(help="Times that all files take turns, in a shuffled order.", min=1)] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads; without it every core.", min=1)] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Try 1, 2, 4, … threads, and take the best.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for other processes to come to rest.", min=0)] = 10.0,
    task: Annotated[str | None, typer.Option(help="Answer prompts of this task, one at a time, too.")] = None,
    prompts: Annotated[int, typer.Option(help="How many prompts of --task.", min=1)] = 8,
    vs: Annotated[bool, typer.Option("--vs", help="Two files in turn: ratios with their spread.")] = False,
    shape: Annotated[Shape, typer.Option("--format", help="What is printed.")] = Shape.TABLE,
    out: Annotated[Path | None, typer.Option(help="Keep measurements.jsonl and verdicts.json in this folder.")] = None,
) -> None:
    """Measure files and hold them against a device's budget: load, first token, speed, memory, accuracy."""
    from arte_export import devices as known
    from arte_export.bench import Plan

    from arte.quiet import quiet
    from arte.stages import bench_files

    quiet()
    plan = Plan(
        prompt_tokens=tuple(prompt or [512]), generated_tokens=generate, depths=tuple(depth or ()), repeats=repeats,
        rounds=rounds, threads=threads, sweep=sweep, quiet_s=wait,
    )  # fmt: skip
    if vs:
        _versus(files, plan)
        return
    say = lambda text: typer.echo(text, err=True)  # noqa: E731
    profile = known.load(device, profiles)
    demanded = _demanded(profile, budget)
    if on is None:
        found = bench_files.here(files, profile, demanded, plan, task, prompts, say)
    else:
        found = bench_files.elsewhere(files, on, profile, demanded, plan, llama_bench, say)
    if out is not None:
        bench_files.keep([each.measurement for each in found], [each.verdict for each in found], out)
    _print(found, shape)
    raise typer.Exit(2 if any(each.verdict.result == "fail" for each in found) else 0)


def devices(
    name: Annotated[str | None, typer.Argument(help="Show this profile.")] = None,
    profiles: Profiles = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the fields of a profile as JSON schema.")] = False,
) -> None:
    """List the device profiles, or show one."""
    import json

    from arte_export import devices as known

    if schema:
        typer.echo(json.dumps(known.schema(), indent=2))
        return
    if name is not None:
        typer.echo(known.load(name, profiles).model_dump_json(indent=2, exclude_none=True))
        return
    for each in known.names(profiles):
        typer.echo(f"{each:20s} {known.load(each, profiles).about}")


def recommend(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a folder that `arte bench --out` kept.")],
    device: Device = "this-machine",
    budget: BudgetLine = None,
    profiles: Profiles = None,
) -> None:
    """The smallest file that holds a device's budget, what limits the next better one, and how to ship it."""
    from arte_export import devices as known

    from arte.stages import recommending

    profile = known.load(device, profiles)
    say = lambda text: typer.echo(text, err=True)  # noqa: E731
    lines, holds = recommending.recommend(run, profile, _demanded(profile, budget), say)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if holds else 2)


def _demanded(profile: "Profile", line: str | None) -> "Budget":
    from arte_export import budget

    return profile.budget if line is None else profile.budget.merged(budget.parse(line))


def _versus(files: list[Path], plan: object) -> None:
    from arte_export import bench as measuring
    from arte_export.errors import ExportError
    from arte_export.versus import versus

    from arte import models
    from arte.report import bench_table

    if len(files) != 2:
        raise ExportError(f"--vs compares two files; found {len(files)}")
    assert isinstance(plan, measuring.Plan)
    a, b = (measuring.subject(file, models.arte_home()) for file in files)
    ratios, unsteady = versus(a, b, plan, lambda text: typer.echo(text, err=True))
    for line in bench_table.versus(files[0].name, files[1].name, ratios, unsteady):
        typer.echo(line)


def _print(found: "list[Benched]", shape: Shape) -> None:
    from arte_export import llama_bench
    from arte_export.measurement import TTFT_DEFINITION
    from rich.console import Console

    from arte.machine import cpu_name
    from arte.report import bench_table

    measured = [each.measurement for each in found]
    if shape is Shape.JSON:
        typer.echo("[" + ",\n".join(measurement.model_dump_json() for measurement in measured) + "]")
    elif shape is Shape.TABLE:
        Console().print(bench_table.table(measured))
        typer.echo(f"load, cold, TTFT in s; pp, tg in tokens/s; medians. {TTFT_DEFINITION}.")
        for line in [*bench_table.further(measured), *bench_table.verdicts([each.verdict for each in found])]:
            typer.echo(line)
    else:
        here = cpu_name()
        rows = [
            row
            for measurement in measured
            for row in llama_bench.rows(measurement, here if measurement.on == "local" else "")
        ]
        written = {
            Shape.LLAMA_BENCH: llama_bench.json_text,
            Shape.MARKDOWN: llama_bench.markdown_text,
            Shape.CSV: llama_bench.csv_text,
        }
        typer.echo(written[shape](rows), nl=False)
