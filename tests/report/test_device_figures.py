from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from arte_export import budget, measurement, verdicts
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import rc_context
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from arte.report import device_drawings, device_figures, devices_table, dot_labels
from arte.report.contract import Measurement
from arte.report.device_figures import File, frontier
from arte.report.files import document, lines
from arte.report.gather import gather
from arte.report.statistics import Spread


def made(
    name: str, megabytes: int, rate: float, accuracy: float | None, rss: int = 200, mapped: int | None = 120
) -> File:
    measured = Measurement(
        file=name, device="this-machine", how="measured", tg_tok_s=Spread.of([rate]), peak_rss_bytes=rss * 10**6,
        mapped_bytes=None if mapped is None else mapped * 10**6,
    )  # fmt: skip
    return File(f"gguf {name}", name, "gguf", megabytes * 10**6, accuracy, measured)


def test_the_frontier_by_hand() -> None:
    points = {
        "small": (100.0, 12.0, -0.5),
        "fast": (200.0, 5.0, -0.5),
        "accurate": (300.0, 20.0, -0.9),
        "twin of small": (100.0, 12.0, -0.5),  # equal, so neither beats the other
        "small but worse": (100.0, 12.0, -0.4),  # beaten by small in one, equal in two
        "in between": (150.0, 13.0, -0.5),  # beaten by small, not by fast
        "large and slow": (400.0, 21.0, -0.8),  # beaten by accurate
    }
    assert frontier(points) == {"small", "fast", "accurate", "twin of small"}
    assert frontier({}) == set()


@given(st.dictionaries(st.text(max_size=3), st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_what_is_left_out_is_beaten_and_what_is_in_is_not(points: dict[str, tuple[int, int, int]]) -> None:
    found = frontier(points)
    assert found

    def beats(one: str, other: str) -> bool:
        pairs = list(zip(points[one], points[other], strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    for name in points:
        assert any(beats(one, name) for one in found) == (name not in found)


def test_an_accuracy_that_is_missing_is_left_out_for_all() -> None:
    graded = [made("q8", 145, 50, 0.8), made("q4", 105, 80, 0.6), made("f16", 270, 30, 0.8)]
    assert device_figures.best(graded) == {"q8", "q4"}  # f16 is larger and slower than q8, and no better
    assert device_figures.best([*graded[:2], made("f16", 270, 30, None)]) == {"q4"}


def test_the_figure_names_the_frontier() -> None:
    drawn = device_figures.pareto(
        [made("q8", 145, 50, 0.8), made("q4", 105, 80, 0.6), made("f16", 270, 30, 0.8)], "pareto-1", "Size and latency"
    )
    assert "q8: 145 MB, 20.0 ms a token, 80.0 %, on the frontier; gguf q4: 105 MB, 12.5 ms a token, 60.0 %, on" in drawn
    assert "gguf f16: 270 MB, 33.3 ms a token, 80.0 %.</desc>" in drawn
    texts = {part.partition("</text>")[0].rpartition(">")[2]: part for part in drawn.split("<text")[1:]}
    bold = {text for text, part in texts.items() if "font-weight: 700" in part}
    assert bold == {"q8 80.0\u00a0%", "q4 60.0\u00a0%"}
    assert "f16 80.0\u00a0%" in texts
    assert "#0a0a0" not in drawn


def test_texts_beside_dots_cover_no_dot_and_no_other_text() -> None:
    dots = [(100.0 + 6 * place, 20.0 + 3 * (place % 3)) for place in range(8)] + [(200.0, 60.0), (202.0, 61.0)]
    texts = [f"q{place}_k_m  41.{place} %" for place in range(len(dots))]
    figure = Figure(figsize=(5.8, 3.5), layout="constrained", dpi=72)
    axes = figure.add_subplot()
    axes.plot(*zip(*dots, strict=True), "o", markersize=7)
    axes.margins(0.14, 0.16)
    with rc_context({"font.size": 8}):
        dot_labels.write(figure, axes, dots, dots[:3], texts, [place % 2 == 0 for place in range(len(dots))])
    figure.draw_without_rendering()
    renderer = RendererAgg(580, 350, 72)  # type: ignore[no-untyped-call]
    boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]  # without the line to the dot
    assert len(boxes) == 10
    assert [pair for pair in combinations(range(10), 2) if boxes[pair[0]].overlaps(boxes[pair[1]])] == []
    places = axes.transData.transform(np.array(dots))
    assert [(text, dot) for text, box in enumerate(boxes) for dot, at in enumerate(places) if box.contains(*at)] == []


@pytest.mark.parametrize(
    ("peak", "mapped", "parts"),
    [
        (200, 120, {"mapped": 120, "rest": 80}),
        (200, 250, {"mapped": 200, "rest": 0}),  # read a moment after the peak
        (200, 0, {"mapped": 0, "rest": 200}),
        (200, None, {"whole": 200}),
    ],
)
def test_memory_in_its_parts(peak: int, mapped: int | None, parts: dict[str, int]) -> None:
    found = device_figures.parts(made("q8", 145, 50, None, peak, mapped).measured)
    assert found == {name: count * 10**6 for name, count in parts.items()}


def test_a_budget_is_drawn_where_it_is_near_the_bars() -> None:
    limits = {220_000_000: ["pixel-8", "pixel-9", "iphone-16"], 8_000_000_000: ["macbook"]}
    drawn = device_figures.memory([made("q8", 145, 50, None), made("q4", 105, 80, None, 180, None)], limits, "m", "M")
    assert "budget 220 MB: pixel-8 and 2 more" in drawn
    assert "macbook" not in drawn
    for said in ("mapped from the file", "the rest: cache, buffers, program", "not told apart", ">200 MB<", ">180 MB<"):
        assert said in drawn
    alone = device_figures.memory([made("q8", 145, 50, None)], {}, "m", "M")
    assert "budget" not in alone
    assert "not told apart" not in alone


def test_the_bench_of_these_tests_is_of_the_shape_that_the_exporters_write(benched: Path) -> None:
    rows = lines(benched / "bench" / "measurements.jsonl")
    measured = [measurement.Measurement.model_validate(row) for row in rows]
    judged = [verdicts.Verdict.model_validate(row) for row in document(benched / "bench" / "verdicts.json")]
    assert (len(measured), sum(len(verdict.lines) for verdict in judged)) == (3, 6)
    report = gather(benched)
    for theirs, ours in zip(measured, report.measurements, strict=True):
        assert theirs.model_dump(mode="json") == {**ours.model_dump(mode="json"), **_not_written(theirs)}
    terms = {term.field for term in budget.TERMS.values()}
    assert terms == set(devices_table.TERMS)  # every term has its words


def _not_written(theirs: measurement.Measurement) -> dict[str, None]:
    return {name: None for name in measurement.Measurement.model_fields if getattr(theirs, name) is None}


def test_the_figures_of_a_run(benched: Path) -> None:
    pareto, memory, threads = device_drawings.drawings(gather(benched))
    # 1000 / 50, / 80 and / 40; the ONNX file is larger, slower and no better than q4_k_m
    assert pareto.rows == [
        ["gguf q8_0", "145 MB", "20.0", "80.0 %", "yes"],
        ["gguf q4_k_m", "105 MB", "12.5", "60.0 %", "yes"],
        ["onnx int8", "168 MB", "25.0", "60.0 %", "no"],
    ]
    assert memory.rows[0] == ["gguf q8_0", "240 MB", "155 MB", "85 MB"]
    assert memory.rows[2] == ["onnx int8", "263 MB", "–", "–"]
    assert "budget 220 MB: this-machine" in memory.svg
    assert threads.rows[:2] == [["gguf q8_0", "1", "25.0", "205"], ["gguf q8_0", "2", "50.0", "410"]]
    assert len(threads.rows) == 6
    assert "gguf q8_0: 2 chosen; gguf q4_k_m: 2 chosen; onnx int8: 2 chosen" in threads.svg


def test_two_devices_are_never_in_one_figure(benched: Path) -> None:
    report = gather(benched)
    other = [row.model_copy(update={"device": "raspberry-pi-5"}) for row in report.measurements]
    estimated = [row.model_copy(update={"device": "pixel-8", "how": "estimate"}) for row in report.measurements]
    found = device_drawings.drawings(
        report.model_copy(update={"measurements": [*report.measurements, *other, *estimated]})
    )
    assert [drawing.caption.rpartition(" on ")[2] for drawing in found] == ["this-machine"] * 3 + ["raspberry-pi-5"] * 3
    assert [len(drawing.rows) for drawing in found] == [3, 3, 6, 3, 3, 6]


def test_one_file_has_no_frontier_to_show(benched: Path) -> None:
    report = gather(benched)
    bare = report.measurements[0].model_copy(update={"sweep": []})
    assert len(device_drawings.drawings(report.model_copy(update={"measurements": [bare]}))) == 1  # memory
    nothing = bare.model_copy(update={"peak_rss_bytes": None, "tg_tok_s": None})
    assert device_drawings.drawings(report.model_copy(update={"measurements": [nothing]})) == []
