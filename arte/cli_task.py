"""The commands about tasks and what is learnt of them: `arte tasks`, `arte task`, `arte data`, `arte judge`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Tasks of your own: a folder with task.yaml and your items.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder to make; its name is the task's.")],
) -> None:
    """Make a task's folder with examples that run as they are."""
    from arte import task_new

    folder = task_new.new(name)
    for path in sorted(folder.iterdir()):
        typer.echo(f"  {path}")
    typer.echo(f"Put your items in their place, then: arte task check {folder}; arte recipe {folder}/recipe.yaml")


@app.command()
def check(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder with a task.yaml.")]) -> None:
    """Show the prompts, read every gold answer, and say what is to be mended."""
    from arte import task_check

    checked = task_check.check(folder)
    for line in task_check.lines(checked):
        typer.echo(line)
    raise typer.Exit(1 if checked.problems else 0)


def tasks() -> None:
    """List the tasks."""
    from arte import tasks as known

    for name in (*known.NAMES, *known.GROUPS):
        typer.echo(f"{name:43s} {known.taught(name).about}")


def data(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder with its students trained.")],
    out: Annotated[Path, typer.Option(help="A new folder for the data and its card.")] = Path("data-export"),
) -> None:
    """What students and teacher learnt from, in TRL's forms, with a dataset card: a folder as the hub takes it."""
    from arte import data_export

    for line in data_export.export(run, out):
        typer.echo(line)


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder with its arms evaluated.")],
    server: Annotated[str, typer.Option(help="Where the judge answers, as in http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="The name that the server has for the judge.")],
    a: Annotated[str | None, typer.Option(help="An arm; the shipped one without it.")] = None,
    b: Annotated[str | None, typer.Option(help="The arm it is compared with; its control without it.")] = None,
    key_variable: Annotated[
        str | None, typer.Option(help="Environment variable that holds the server's key; without it none is sent.")
    ] = None,
    test: Annotated[int | None, typer.Option(help="How many test items; all without it.", min=1)] = None,
    requests: Annotated[int, typer.Option(help="Most requests under way at once.", min=1)] = 8,
) -> None:
    """Have a judge compare the replies of two arms to open questions, in both orders."""
    from arte import judging
    from arte.recipe_engines import Server

    settings = Server(url=server, key_variable=key_variable, requests=requests)
    for line in judging.lines(judging.judge(run, a, b, model, settings, test)):
        typer.echo(line)
