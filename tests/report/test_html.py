from html.parser import HTMLParser
from pathlib import Path

import pytest

from arte.report.contract import Curve
from arte.report.gather import gather
from arte.report.html import page, thin
from arte.report.notation import percent

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags, addresses, ids and the text of table cells; notices a tag that is closed out of order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        self.ids += [value or "" for name, value in attributes if name == "id"]
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open and ({"td", "th"} & set(self._open)):
            self.cells[-1] += data


@pytest.fixture
def whole(run_folder: Path) -> Page:
    return Page(page(gather(run_folder)))


def test_the_page_stands_alone(whole: Page, run_folder: Path) -> None:
    assert len(whole.addresses) > 8
    assert [address for address in whole.addresses if not address.startswith("#")] == []
    assert not {"script", "link", "iframe", "img", "object"} & set(whole.tags)
    text = page(gather(run_folder))
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text


def test_links_meet_and_ids_are_single(whole: Page) -> None:
    assert len(whole.ids) == len(set(whole.ids))
    assert {address.removeprefix("#") for address in whole.addresses} <= set(whole.ids)


def test_drafts_are_shown_and_never_run(run_folder: Path) -> None:
    text = page(gather(run_folder))
    # Two best and two worst drafts, each with the hostile text in its question and its rationale.
    assert text.count("&lt;script&gt;alert(&#39;draft&#39;)&lt;/script&gt; &amp; &#34;quoted&#34;") == 8
    assert "<script" not in text


def test_names_in_figures_are_escaped(run_folder: Path) -> None:
    report = gather(run_folder)
    rows = [row.model_copy(update={"arm": "<b>$x$&"}) for row in report.accuracy]
    text = page(report.model_copy(update={"accuracy": rows}))
    assert "<b>" not in text
    assert "&lt;b&gt;$x$&amp;" in text


def test_every_figure_has_a_name_and_its_numbers_in_a_table(whole: Page, run_folder: Path) -> None:
    report = gather(run_folder)
    # Accuracy, size and latency, memory, drafts, scores, DPO loss and reward accuracy, SFT loss.
    assert whole.tags.count("svg") == 8
    names = ("accuracy", "pareto-1", "memory-1", "losses", "scores", "align-loss", "align-rewards-accuracies")
    for name in (*names, "distill-loss"):
        assert {f"{name}-title", f"{name}-desc"} <= set(whole.ids)
    shown = {percent(row.accuracy) for row in report.accuracy if row.artefact == "model"}
    assert shown <= set(whole.cells)
    assert {"10.0 %", "60.0 %", "80.0 %"} <= shown
    assert report.data is not None
    assert {"4", "44.4 %", "22.2 %", "66.7 %"} <= set(whole.cells)  # 4 and 2 of 9, 2 of 3
    assert {"0.6931", "0.4", "2", "1.5"} <= set(whole.cells)
    # Scores −0.1, 0, 0.1 and 0.3 in four bins
    assert {"−0.100 to 0.000", "0.000 to +0.100", "+0.200 to +0.300"} <= set(whole.cells)


def test_colours_come_from_the_page(run_folder: Path) -> None:
    text = page(gather(run_folder))
    drawings = text[text.index("<svg") :]
    assert "var(--arte)" in drawings
    assert "#0a0a0" not in drawings
    assert "#0b0b0" not in drawings
    assert "prefers-color-scheme: dark" in text


def test_a_budget_is_shown_line_by_line(benched: Path) -> None:
    found = Page(page(gather(benched)))
    # Title and demand; figure, range and mark; of what was not measured only that.
    shown = [
        "First tokenat most 2\u00a0s", "Peak memoryat most 220\u00a0MB", "Accuracy lostat most 2\u00a0points",
        "1.251.20 to 1.30✓ pass", "240 MB✗ fail", "not measured✗ fail", "✓ pass", "✗ fail",
        "Decodeat least 15\u00a0tok/s", "40.025.0 to 64.0≈ likely hold", "not known? open", "≈ estimate",
    ]  # fmt: skip
    assert [cell for cell in shown if cell not in found.cells] == []
    assert "First token unknown (the profile has no peak compute), budget <= 1." in found.text
    assert "nothing here was measured on this device, so no line passes or fails" in found.text
    assert "Nothing was demanded of the files on jetson" in found.text
    assert found.tags.count("svg") == 9  # the threads too


def test_latency_is_shown_in_detail(benched: Path) -> None:
    report = gather(benched)
    found = Page(page(report))
    row = found.cells.index("Token p50ms") - 4
    assert found.cells[row : row + 9] == [
        "File", "Cold loads", "Warm loads", "First tokens", "Token p50ms", "p90ms", "p99ms", "Task answers", "Threads"
    ]  # fmt: skip
    # 80 tokens a second: 12.5 ms a token at the median, 1.5 and 2 times that at p90 and p99
    start = found.cells.index("gguf q4_k_m± unsteady", row)
    assert found.cells[start + 1 : start + 9] == [
        "0.410.40 to 0.45", "0.0520.050 to 0.060", "1.251.20 to 1.30", "12.5", "18.8", "25.0", "2.202.10 to 2.40", "2"
    ]  # fmt: skip
    assert "gguf q4_k_m: rounds of tg128 lie 9% apart." in found.text
    assert found.text.count("± unsteady") == 5  # files, latency, its reason, tests, budget
    assert "TTFT: from a prompt that is already tokenized" in found.text
    assert {"pp512", "tg128", "tg128 @ d1024", "256", "64.0"} <= set(found.cells)  # 512 and 128 tokens in 2 s


def test_an_older_bench_is_still_shown(run_folder: Path) -> None:
    text = Page(page(gather(run_folder))).text
    assert "gguf q4_k_m: ✓ pass. No budget is set." in text
    assert "300 MB" in text
    for absent in ("TTFT", "threads was", "Latency in detail", "unsteady", "Every prompt length"):
        assert absent not in text


def test_names_of_devices_are_escaped(benched: Path) -> None:
    report = gather(benched)
    hostile = "<i>$x$&"
    verdicts = [row.model_copy(update={"device": hostile}) for row in report.verdicts]
    measurements = [row.model_copy(update={"unsteady": [hostile], "device": hostile}) for row in report.measurements]
    text = page(report.model_copy(update={"verdicts": verdicts, "measurements": measurements}))
    assert "<i>" not in text
    assert text.count("&lt;i&gt;$x$&amp;") == 5  # heading, budget in the figure, a reason for each of three files
    Page(text)


def test_the_data_is_named_first(whole: Page) -> None:
    text = whole.text.replace("\N{NO-BREAK SPACE}", " ")
    start = text.index("On the starter task (10 test problems, school arithmetic, not GSM8K)")
    assert start < text.index("They are not GSM8K figures") < text.index("Accuracy by arm")


def test_a_long_curve_keeps_its_ends() -> None:
    steps = list(range(1, 1001))
    curve = Curve(stage="align", arm=None, metric="loss", steps=steps, values=[1 / step for step in steps])
    short = thin(curve)
    assert len(short.steps) == 60
    assert (short.steps[0], short.steps[-1], short.values[-1]) == (1, 1000, 0.001)


def test_no_mark_of_one_task_stands_before_the_answers_of_all(whole: Page, run_folder: Path) -> None:
    """BBH's answers stand in <ans>, a defined task's where its task.yaml says."""
    examples = gather(run_folder).examples
    assert examples is not None
    shown = len(examples.best) + len(examples.worst)
    assert whole.text.count("Answer: 7") == shown > 0
    assert "####" not in whole.text
