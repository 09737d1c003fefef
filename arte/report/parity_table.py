"""Parity of device files as a table, one row a file: every figure for a page, the main ones for a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arte.report.notation import size

if TYPE_CHECKING:
    from rich.table import Table

TITLES = (
    "file", "size", "token ids", "template", "special", "KL mean", "KL 99 %", "top-1", "ppl ratio", "greedy",
    "answers", "accuracy", "against torch", "parity",
)  # fmt: skip


LEGEND = (
    "KL: divergence of the file's next-token distribution from the torch model's in nats; top-1: positions with the "
    "same most probable token; ppl ratio: perplexity of the file over the model's; greedy: prompts with equal greedy "
    "answers to the last token; answers: prompts with the same extracted answer; accuracy: strict match on the task, "
    "and the paired difference to the torch model in points with its 95 % interval."
)


def cells(file: dict[str, Any]) -> list[str]:
    """The row of one entry of parity.json, under `TITLES`."""
    parity = file["parity"]
    near, greedy, accuracy = parity["distributions"], parity["greedy"], parity["task_accuracy"]

    def held(*checks: str) -> str:
        return "same" if all(parity[check] for check in checks) else "DIFFER"

    def figure(name: str, form: str) -> str:
        return "–" if near is None else format(near[name]["value"], form)

    return [
        file["file"],
        size(file["bytes"]),
        held("token_ids", "vocabulary"),
        held("chat_template"),
        held("special_tokens"),
        figure("mean_kld", ".5f"),
        figure("p99_kld", ".4f"),
        figure("top1_agreement", ".2%"),
        figure("ppl_ratio", ".4f"),
        "–" if greedy is None else format(greedy["exact"], ".0%"),
        "–" if greedy is None else format(greedy["answers_equal"], ".0%"),
        "–" if accuracy is None else format(accuracy["file"], ".1%"),
        "–" if accuracy is None else _difference(accuracy),
        "passed" if parity["passed"] else "FAILED",
    ]


def table(files: Sequence[dict[str, Any]]) -> "Table":
    """For a terminal: what decides. What fails is said beneath (`failures`)."""
    from rich.table import Table
    from rich.text import Text

    out = Table(box=None, padding=(0, 1, 0, 0))
    shown = [TITLES.index(title) for title in ("size", "KL mean", "top-1", "accuracy", "against torch", "parity")]
    out.add_column("file")
    for column in shown:
        out.add_column(TITLES[column], justify="right")
    for file in files:
        row = cells(file)
        out.add_row(Text(f"{file['format']} {file['scheme']}"), *(row[column] for column in shown))
    return out


def markdown(files: Sequence[dict[str, Any]]) -> str:
    """For a page."""
    lines = [TITLES, ["---", *["---:"] * (len(TITLES) - 1)], *map(cells, files)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def failures(files: Sequence[dict[str, Any]]) -> list[str]:
    """What failed, a line a check, and every Modelfile that could not be written."""
    refused = [file["modelfile_refused"] for file in files if file["modelfile_refused"] is not None]
    return [*(f"{file['file']}: {line}" for file in files for line in file["parity"]["why"]), *refused]


def _difference(accuracy: dict[str, Any]) -> str:
    low, high = (100 * bound for bound in accuracy["ci95"])
    return f"{100 * accuracy['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
