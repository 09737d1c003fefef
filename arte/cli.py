"""The command line: parse, call one function, print.

Exit codes: 0 done and every budget held; 2 done, a device budget or a parity gate failed; 1 an error the user can
mend; 130 interrupted, what is done is kept. Anything else is a bug and keeps its traceback.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from arte import cli_bench, cli_task
from arte.errors import READER_ERRORS

app = typer.Typer(
    name="arte",
    help="Distils a task-specific student for laptops and phones, and measures what comes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A name that `arte recipes` lists, or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings: elicit.questions=500")]
ScaleOption = Annotated[str, typer.Option("--scale", help="auto, smoke, starter, gpu or paper.")]


@app.command()
def recipe(
    name: RecipeName,
    overrides: Overrides = None,
    scale: ScaleOption = "auto",
    out: Annotated[Path | None, typer.Option(help="The run folder (default: runs/RECIPE-SCALE).")] = None,
    until: Annotated[str, typer.Option(help="Stop after this stage; the same command goes on.")] = "report",
    redo: Annotated[list[str] | None, typer.Option(help="Do this stage again, and what follows from it.")] = None,
    launch: Annotated[
        str | None,
        typer.Option(help="accelerate:CONFIG: align and distill train in its processes (ddp, fsdp, a YAML file …)."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the resolved recipe and stop.")] = False,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="So many runs, of this seed and those behind it, in OUT/seed-N, compared."),
    ] = 1,
) -> None:
    """Run the whole job, or go on with it: draft, prefer, align, tailor, distill, evaluate, export, bench, report."""
    from arte import config
    from arte.recipe import STAGES

    resolved, why = config.load_with_reason(name, scale, overrides or [])
    if show:
        typer.echo(config.to_yaml(resolved), nl=False)
        return
    last = config.known("stage", until, STAGES)
    again = [config.known("stage", stage, STAGES) for stage in redo or []]
    folder = out or Path("runs") / f"{resolved.name}-{resolved.scale}"
    if why:
        typer.echo(why)
    typer.echo(f"{resolved.name}, scale {resolved.scale}, in {folder}")
    from arte import pipeline
    from arte.quiet import quiet

    quiet()
    if seeds > 1:
        for seed in range(resolved.seed, resolved.seed + seeds):
            typer.echo(f"seed {seed}")
            one = resolved.model_copy(update={"seed": seed})
            pipeline.run(one, folder / f"seed-{seed}", until=last, redo=again, launch=launch, say=typer.echo)
        if STAGES.index(last) >= STAGES.index("evaluate"):
            _compare([folder], None)
        return
    report = pipeline.run(resolved, folder, until=last, redo=again, launch=launch, say=typer.echo)
    if report is None:
        typer.echo(f"stopped after {last}; the same command without --until goes on")
        return
    raise typer.Exit(_print_report(report, folder))


@app.command()
def plan(name: RecipeName, overrides: Overrides = None, scale: ScaleOption = "auto") -> None:
    """What a run will cost: tokens, time, memory, disk. Loads no model."""
    from rich.console import Console

    from arte import config
    from arte import plan as planning

    resolved, why = config.load_with_reason(name, scale, overrides or [])
    if why:
        typer.echo(why)
    Console().print(planning.table(resolved))


@app.command()
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A hub id, a model folder, or a run folder.")],
    to: Annotated[
        list[str] | None, typer.Option(help="FORMAT:SCHEME, for instance gguf:q4_k_m; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the files go.")] = Path("exported"),
    base: Annotated[str | None, typer.Option(help="The base of a LoRA adapter; else the one it names.")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="JSONL rows for the importance matrix of K- and I-quants.")
    ] = None,
    task: Annotated[str, typer.Option(help="The task that files and torch model are compared on.")] = "starter",
    data: Annotated[str | None, typer.Option(help="A folder with train.jsonl and test.jsonl, no hub.")] = None,
    test: Annotated[int, typer.Option(help="How many test items torch model and files answer.", min=1)] = 64,
) -> None:
    """Write device files of a model, each held against it: tokens, template, distributions, answers, accuracy."""
    from rich.console import Console

    from arte.quiet import quiet
    from arte.recipe import Export
    from arte.recipe import Task as TaskSettings
    from arte.report import parity_table
    from arte.stages.export_model import export_model

    quiet()
    settings, about = Export(test=test), TaskSettings(name=task, data=data)
    targets = to or settings.targets
    files = export_model(model, targets, out, about, base, calibrate, settings, typer.echo)
    Console().print(parity_table.table(files))
    for line in parity_table.failures(files):
        typer.echo(line)
    raise typer.Exit(0 if all(file["parity"]["passed"] for file in files) else 2)


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL_OR_FILE", help="A hub id, a model folder, a .gguf file or an ONNX folder.")
    ],
    task: Annotated[
        str | None, typer.Option(help="A task that `arte tasks` lists, or a task's folder; starter without --tasks.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Tasks or groups of lm-eval.")] = None,
    tasks_folder: Annotated[
        Path | None, typer.Option(help="A folder with YAML files of further lm-eval tasks.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="A folder with train.jsonl and test.jsonl, no hub.")] = None,
    test: Annotated[int | None, typer.Option(help="How many items of each task; all without it.", min=1)] = None,
    shots: Annotated[int, typer.Option(help="Gold examples in front of each item.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Keep samples.jsonl and results.json here.")] = None,
) -> None:
    """Accuracy of a model or a device file on a task, greedy, with a 95 % interval, or a model's loss on open answers;
    scores of lm-eval's own tasks."""
    from arte.quiet import quiet
    from arte.recipe import Evaluate
    from arte.recipe import Task as TaskSettings
    from arte.stages import judge, lm_tasks

    quiet()
    names = tuple(name.strip() for name in (tasks or "").split(",") if name.strip())
    folder = None if tasks_folder is None else str(tasks_folder)
    settings = Evaluate(shots=shots, tasks=names, tasks_folder=folder, tasks_limit=test)
    if task is not None or not names:
        about = TaskSettings(name=task or "starter", data=data, test=test)
        for line in judge.lines(judge.judge(model, about, settings, out, typer.echo)):
            typer.echo(line)
    if names:
        for line in lm_tasks.lines(judge.ask_lm_tasks(model, settings, out)):
            typer.echo(line)


app.command()(cli_bench.bench)
app.command()(cli_bench.recommend)


@app.command()
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]) -> None:
    """Make report.json, report.html and MODEL_CARD.md anew from what is on disk."""
    from arte import report as reporting
    from arte.errors import WorkspaceError

    if not (run / "recipe.yaml").is_file():
        raise WorkspaceError(
            f"{run}: holds no recipe.yaml, so it is no run folder; expected one that `arte recipe` made"
        )
    raise typer.Exit(_print_report(reporting.write(run), run))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or folders of --seeds.")],
    out: Annotated[Path | None, typer.Option(help="Write the figures into this JSON file too.")] = None,
) -> None:
    """Arms of runs side by side, with intervals; runs that differ in the seed alone are pooled."""
    _compare(runs, out)


def _compare(runs: list[Path], out: Path | None) -> None:
    import json

    from arte.report import compare_table, pooling

    found = pooling.pooled(runs)
    if out is not None:
        out.write_text(json.dumps([each.model_dump() for each in found], indent=2), encoding="utf-8")
    for line in compare_table.lines(found):
        typer.echo(line)


@app.command("preference-check")
def preference_check(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder with its stage elicit done.")],
    score: Annotated[
        list[str] | None, typer.Option(help="A score to check; may be repeated. All that train nothing without it.")
    ] = None,
    size: Annotated[int, typer.Option(help="Drafts a subset.", min=2)] = 48,
    subsets: Annotated[
        int, typer.Option(help="Random subsets, beside the highest and lowest of each score.", min=1)
    ] = 6,
    drafts: Annotated[
        int | None, typer.Option(help="Score so many of the checked drafts, drawn at random; all without it.", min=4)
    ] = None,
) -> None:
    """Does the score predict what training gains? Trains the student on small subsets of a run's drafts."""
    from typing import get_args

    from arte import config
    from arte import preference_check as checking
    from arte.quiet import quiet
    from arte.recipe import PreferenceScore

    quiet()
    known = get_args(PreferenceScore)
    scores = [config.known("score", name, known) for name in score or ("icl_logprob", "likelihood", "rank_surprisal")]
    for line in checking.lines(checking.check(run, scores, size, subsets, drafts, typer.echo)):
        typer.echo(line)


@app.command()
def recipes() -> None:
    """List the recipes and their scales."""
    from arte import config

    for name in config.recipe_names():
        typer.echo(f"{name:12s} {config.about(name)}")


app.command()(cli_bench.devices)
app.command()(cli_task.tasks)
app.command()(cli_task.data)
app.command()(cli_task.judge)
app.add_typer(cli_task.app, name="task")


@app.command()
def doctor(
    install: Annotated[str | None, typer.Option(help="Install what is kept apart: optimum, llama-bench.")] = None,
) -> None:
    """Look at this machine: libraries, memory, disk, speed, and whether device files run here."""
    from arte.doctor import doctor as look
    from arte.doctor import install as install_environment

    if install is not None:
        typer.echo(install_environment(install))
        return
    findings = look()
    for finding in findings:
        typer.echo(f"{'ok ' if finding.ok else 'NO '} {finding.name}: {finding.found}")
        if not finding.ok and finding.advice:
            typer.echo(f"      {finding.advice}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def _print_report(made: object, folder: Path) -> int:
    from rich.console import Console

    from arte.report import terminal
    from arte.report.contract import Report

    assert isinstance(made, Report)
    console = Console()
    console.print(terminal.table(made))
    typer.echo(terminal.sentence(made))
    typer.echo("")
    for command in terminal.next_commands(made, folder):
        typer.echo(f"  {command}")
    failed = any(file.parity is not None and not file.parity.passed for file in made.artefacts)
    failed = failed or any(verdict.result == "fail" for verdict in made.verdicts)
    return 2 if failed else 0


def main() -> None:
    """The `arte` command."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported, so before any library is
    # Read by torch at its first allocation: in pages of 2 MB, elementwise operations on a CPU are 2.5 times as fast.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        code = app(standalone_mode=False)
    except READER_ERRORS as error:
        sys.stderr.write(f"arte: {error}\n")
        code = 1
    except typer.Abort:
        code = 130
    except typer.TyperException as error:
        error.show()  # type: ignore[attr-defined]  # typer's own click has it; its public base class does not say so
        code = 1
    if code == 130:  # typer's newer versions return it, where earlier ones raise Abort
        sys.stderr.write("arte: interrupted; what is done is kept, and the same command goes on\n")
    sys.exit(code or 0)
