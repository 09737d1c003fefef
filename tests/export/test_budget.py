import pytest
from arte_export import budget
from arte_export.budget import Budget
from arte_export.errors import ExportError
from hypothesis import given
from hypothesis import strategies as st


def test_a_line_by_hand() -> None:
    found = budget.parse("ttft<=1s  tg>=15 rss<=600MB size<=1.5GiB load<=250ms accuracy>=-2 pp>=100tok/s energy<=50mJ")
    assert found == Budget(
        ttft_s=1.0, tg_tok_s=15.0, rss_bytes=600_000_000, size_bytes=1_610_612_736, load_s=0.25,
        accuracy_loss_points=2.0, pp_tok_s=100.0, energy_j_per_token=0.05,
    )  # fmt: skip
    assert budget.parse("accuracy>=0").accuracy_loss_points == 0


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("tg>=15 tgg>=3", 7, "found 'tgg', which is no term; expected one of ttft<=, load<=,"),
        ("tg<=15", 2, "found '<=' after tg; expected tg>=NUMBER (decode, tokens a second)"),
        ("ttft 1s", 4, "found nothing after ttft; expected ttft<=NUMBER"),
        ("ttft<=1", 7, "found no unit; expected s or ms"),
        ("ttft<=1MB", 7, "found the unit 'MB'; expected s or ms"),
        ("tg>=fast", 4, "found 'fast'; expected a number with tok/s"),
        ("tg>=nan", 4, "found 'nan'; expected a number"),
        ("tg>=1e999", 4, "found '1e999'; expected a finite number above 0"),
        ("rss<=-5MB", 5, "found '-5MB'; expected a finite number above 0"),
        ("size<=0.1B", 6, "found '0.1B'; expected from 1 to"),
        ("accuracy>=2", 10, "found '2'; expected points from -100 to 0"),
        ("accuracy>=-2%", 12, "found the unit '%'; expected no unit"),
        ("tg>=1 ttft<=1s tg>=2", 15, "found tg a second time; expected each term once"),
        ("", 0, "found no term"),
        ("ttft<=١s", 6, "expected a number"),
    ],
)
def test_the_position_and_what_is_allowed_there(line: str, column: int, said: str) -> None:
    with pytest.raises(ExportError) as caught:
        budget.parse(line)
    _, shown, caret, message = str(caught.value).split("\n")
    assert (shown, caret) == (f"  {line}", f"  {' ' * column}^")
    assert said in message


def test_the_command_line_wins_over_the_profile() -> None:
    profile = Budget(ttft_s=1.0, tg_tok_s=15.0)
    assert profile.merged(budget.parse("tg>=30 size<=1kB")) == Budget(ttft_s=1.0, tg_tok_s=30.0, size_bytes=1000)


positive = st.floats(min_value=1e-9, max_value=1e12)
sizes = st.integers(min_value=1, max_value=10**15)
budgets = st.builds(
    Budget, ttft_s=st.none() | positive, load_s=st.none() | positive, load_cold_s=st.none() | positive,
    pp_tok_s=st.none() | positive, tg_tok_s=st.none() | positive, rss_bytes=st.none() | sizes,
    size_bytes=st.none() | sizes, energy_j_per_token=st.none() | positive,
    accuracy_loss_points=st.none() | st.floats(min_value=0, max_value=100),
).filter(lambda found: found != Budget())  # fmt: skip


@given(budgets)
def test_what_is_written_is_read_back(found: Budget) -> None:
    assert budget.parse(found.text()) == found


@given(st.text(alphabet="tgrsaciz<>=0123456789.-+eMBs /", max_size=40) | st.text(max_size=20))
def test_any_other_line_is_an_error_for_the_reader(line: str) -> None:
    try:
        found = budget.parse(line)
    except ExportError:
        with pytest.raises(ExportError, match="the budget does not parse:"):
            budget.parse(line)
    else:
        assert budget.parse(found.text()) == found


def test_bytes_are_exact_beyond_what_a_float_holds() -> None:
    assert budget.parse("size<=9007199254740993B").size_bytes == 2**53 + 1
    assert Budget(rss_bytes=3 << 29).text() == "rss<=1536MiB"
    assert Budget(rss_bytes=1_500_000_000).text() == "rss<=1500MB"
