"""The commands about tasks of the user's own: `arte task new`, `arte task check`."""

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
