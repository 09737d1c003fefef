"""What `arte bench` prints: one line a file, then every line of the budget, then what a reader should know."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from arte.report.notation import size

if TYPE_CHECKING:
    from arte_export.measurement import Measurement
    from arte_export.spread import Spread
    from arte_export.verdicts import Verdict
    from arte_export.versus import Ratio
    from rich.table import Table

MARKS = {"pass": "pass", "fail": "FAIL", "estimate": "estimate"}


def table(measured: Sequence["Measurement"]) -> "Table":
    """Medians; rates in tokens a second, times in seconds."""
    from rich.table import Table

    first = measured[0]
    out = Table(box=None, header_style="bold", pad_edge=False)
    out.add_column("file", overflow="fold", max_width=22)
    titles = ("size", "load", "cold", "TTFT", f"pp{first.prompt_tokens}", f"tg{first.generated_tokens}", "RSS", "thr")
    for title in titles:
        out.add_column(title, justify="right")
    for each in measured:
        out.add_row(
            each.file,
            size(each.bytes),
            _median(each.load_s, 2),
            _median(each.load_cold_s, 2),
            _median(each.ttft_s, 2),
            _median(each.pp_tok_s, 1),
            _median(each.tg_tok_s, 1),
            size(each.peak_rss_bytes),
            str(each.threads),
        )
    return out


def further(measured: Sequence["Measurement"]) -> list[str]:
    """A line for each test beyond the first two, for tokens one by one, answers, energy, threads and disturbances."""
    from arte_export.spread import spread

    lines = []
    for each in measured:
        for timed in each.tests[2:]:
            lines.append(f"{each.file}: {timed.test.name} {_range(spread(timed.tok_s))} tok/s")
        if each.inter_token_s is not None:
            p50, p90, p99 = (1000 * value for value in (each.inter_token_s.p50, each.inter_token_s.p90,
                                                        each.inter_token_s.p99))  # fmt: skip
            lines.append(f"{each.file}: between tokens p50 {p50:.1f}, p90 {p90:.1f}, p99 {p99:.1f} ms")
        if each.end_to_end is not None:
            whole = each.end_to_end
            lines.append(
                f"{each.file}: {whole.prompts} task prompts, one at a time: {_range(whole.seconds, 2)} s an answer, "
                f"first token after {_range(whole.ttft_s, 2)} s ({whole.tokens_in:,} tokens in, "
                f"{whole.tokens_out:,} out)"
            )
        if each.energy_j_per_token is not None:
            lines.append(f"{each.file}: {each.energy_j_per_token:.3g} J a token")
        for swept in each.sweep:
            lines.append(
                f"{each.file}: {swept.threads} threads: pp {swept.pp_tok_s:.1f}, tg {swept.tg_tok_s:.1f} tok/s"
            )
        lines += [f"{each.file}: UNSTEADY: {why}" for why in each.unsteady]
    return lines


def verdicts(found: Sequence["Verdict"]) -> list[str]:
    """The verdict of each file, and every line of its budget."""
    lines = []
    for verdict in found:
        lines.append(f"{verdict.device}, {verdict.file}: {MARKS[verdict.result]}")
        lines += [f"  {line.result:11s} {line.text}" for line in verdict.lines]
        if not verdict.lines:
            lines.append(f"  {verdict.why}")
    return lines


def versus(a: str, b: str, ratios: Sequence["Ratio"], unsteady: Sequence[str]) -> list[str]:
    """A line for each figure of `arte bench A B --vs`."""
    lines = [f"{a} against {b}, in turn; the ratio is taken within each round:"]
    for ratio in ratios:
        lines.append(
            f"  {ratio.figure:9s} {ratio.a:.4g} against {ratio.b:.4g}: {ratio.ratio.median:.3f} times "
            f"({ratio.ratio.min:.3f} to {ratio.ratio.max:.3f}, {ratio.ratio.count} rounds)"
        )
    return lines + [f"UNSTEADY: {line}" for line in unsteady]


def _median(found: "Spread | None", digits: int) -> str:
    return "–" if found is None else f"{found.median:.{digits}f}"


def _range(found: "Spread", digits: int = 1) -> str:
    return f"{found.median:.{digits}f} ({found.min:.{digits}f} to {found.max:.{digits}f})"
