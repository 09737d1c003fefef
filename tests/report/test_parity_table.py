import io
from typing import Any

from rich.console import Console

from arte.report import parity_table


def entry(scheme: str, **parity: Any) -> dict[str, Any]:
    """One entry of parity.json, of a file that passed."""
    values = {"mean_kld": 0.01234, "p99_kld": 0.2, "top1_agreement": 0.987, "ppl_ratio": 1.0021}
    return {
        "file": f"Student-135M-{scheme.upper()}.gguf",
        "format": "gguf",
        "scheme": scheme,
        "bytes": 145_000_000,
        "modelfile_refused": None,
        "parity": {
            **dict.fromkeys(("token_ids", "vocabulary", "chat_template", "special_tokens", "passed"), True),
            "why": [],
            "distributions": {name: {"value": value, "standard_error": None} for name, value in values.items()},
            "greedy": {"exact": 0.5, "answers_equal": 0.9375},
            "task_accuracy": {"file": 0.125, "difference": -0.015625, "ci95": [-0.0469, 0.0156]},
            **parity,
        },
    }


def test_a_row_by_hand() -> None:
    assert parity_table.cells(entry("q8_0")) == [
        "Student-135M-Q8_0.gguf", "145 MB", "same", "same", "same", "0.01234", "0.2000", "98.70%", "1.0021", "50%",
        "94%", "12.5%", "-1.6 (-4.7 to +1.6)", "passed",
    ]  # fmt: skip
    page = parity_table.markdown([entry("q8_0")]).splitlines()
    assert [line.count("|") for line in page] == [len(parity_table.TITLES) + 1] * 3


def test_what_was_not_measured_and_what_differs() -> None:
    bare = entry("q4_k_m", distributions=None, greedy=None, task_accuracy=None, vocabulary=False, passed=False)
    assert parity_table.cells(bare)[2:] == ["DIFFER", "same", "same", *["–"] * 8, "FAILED"]
    failed = entry("q4_k_m", passed=False, why=["chat_template: conversation 3"])
    assert parity_table.failures([entry("q8_0"), failed]) == ["Student-135M-Q4_K_M.gguf: chat_template: conversation 3"]


def test_a_terminal_of_80_columns_shows_every_figure_whole() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    files = [entry("q8_0"), entry("q4_k_m") | {"format": "onnx-optimum", "scheme": "int8"}]
    console.print(parity_table.table(files))
    lines = console.export_text().splitlines()
    assert len(lines) == 3
    assert lines[2].split() == [
        "onnx-optimum", "int8", "145", "MB", "0.01234", "98.70%", "12.5%", "-1.6", "(-4.7", "to", "+1.6)", "passed"
    ]  # fmt: skip
