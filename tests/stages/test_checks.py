import pytest

from arte.rows import Item
from arte.stages.checks import QuestionCheck, check_rationales
from arte.tasks import Task

SEED = "Each box in the big red shop holds 6 cups. How many cups do 4 boxes hold?"
PROBE = "Each box in the big red shop holds 9 eggs. A hungry fox carries away seven fine eggs. How many are left?"


def item(item_id: str, question: str) -> Item:
    return Item(id=item_id, question=question, rationale="", answer="1")


def check(near_duplicate: float = 0.9, words: int = 8, seeds: tuple[str, ...] = (SEED,)) -> QuestionCheck:
    shown = [item(f"seed-{number}", text) for number, text in enumerate(seeds)]
    return QuestionCheck(shown, [item("probe-3", PROBE)], near_duplicate, words)


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_draft_that_is_no_question(nothing: str | None) -> None:
    assert check().check(nothing).reason == "unparsed"


def test_a_new_question_is_accepted() -> None:
    found = check().check("Ada plants 12 trees in each of 3 rows. How many trees is that?")
    assert found.accepted
    assert found.detail == ""


def test_the_same_words_in_another_order_are_a_duplicate() -> None:
    found = check().check("How many cups do 4 boxes hold? Each box, in the big red shop, HOLDS 6 cups.")
    assert found.reason == "duplicate"
    assert found.detail == "seed-0: similarity 1.00"  # case, marks and order of the words do not count


def test_near_duplicates_start_at_the_asked_similarity() -> None:
    # 33 characters each, of which 32 are the same: similarity 2 × 32 / 66 = 0.9697
    known, text = "aaaa bbbb cccc dddd eeee fig gggg", "aaaa bbbb cccc dddd eeee fog gggg"
    for threshold, reason in ((0.9696, "duplicate"), (0.9698, None)):
        found = check(near_duplicate=threshold, seeds=(known,)).check(text)
        assert found.reason == reason


def test_only_what_was_added_is_known() -> None:
    checks, text = check(), "Ada plants 12 trees in each of 3 rows. How many trees is that?"
    assert checks.check(text).accepted
    assert checks.check(text).accepted  # a check alone leaves no trace
    checks.add("q0-0-0", text)
    assert checks.check(text).detail == "q0-0-0: similarity 1.00"


def test_eight_words_of_a_probe_in_a_row_contaminate() -> None:
    seven = "Tom sees how a hungry fox carries away seven fine ducks. How many ducks are there?"
    eight = "Tom sees how a hungry fox carries away seven fine EGGS! What is left there?"
    assert check().check(seven).accepted
    found = check().check(eight)
    assert found.reason == "contaminated"
    assert found.detail == "probe-3: a hungry fox carries away seven fine eggs"
    assert check(words=7).check(seven).reason == "contaminated"
    assert check(words=9).check(eight).accepted


def test_an_item_that_the_seeds_hold_in_pieces_contaminates_whole() -> None:
    known = (PROBE.replace("are left", "are there"), "A hungry fox carries away seven fine eggs. How many are left?")
    assert check(seeds=known).check(f"{PROBE[:-1]} now?").reason == "duplicate"
    found = check(seeds=known).check(PROBE.upper())
    assert (found.reason, found.detail) == ("contaminated", "probe-3: all of it")


def test_words_that_a_seed_holds_too_do_not_contaminate() -> None:
    """The teacher was shown them: `each box in the big red shop holds` stands in the seed and in the probe."""
    text = "Each box in the big red shop holds 55 tiny screws and weighs 2 pounds. What do 3 boxes weigh?"
    assert check().check(text).accepted
    assert check(seeds=("Another seed altogether, about trees.",)).check(text).reason == "contaminated"


def test_a_leak_is_told_before_a_duplicate() -> None:
    checks = check()
    checks.add("q0-0-0", PROBE)
    assert checks.check(PROBE).reason == "contaminated"


RIGHT = "4 * 6 = 24 cups."


@pytest.mark.parametrize(
    ("drafts", "reasons"),
    [
        ([(RIGHT, "24")], [None]),
        ([(RIGHT, "24"), ("6 + 6 + 6 + 6 = 24", "24")], [None, None]),
        # one that only says its answer falls, but its answer votes
        ([(RIGHT, "24"), ("4 + 6 = 10", "10"), ("It is 24.", "24")], [None, "inconsistent", "inconsistent"]),
        # the minority falls, however sound it reads
        ([(RIGHT, "24"), ("4 + 6 = 10", "10"), (RIGHT, "24")], [None, "inconsistent", None]),
        # two against two: no majority, all fall
        ([(RIGHT, "24"), (RIGHT, "24"), ("4 + 6 = 10", "10"), ("4 + 6 = 10", "10")], ["inconsistent"] * 4),
        ([(RIGHT, "24"), ("4 + 6 = 10", "10")], ["inconsistent"] * 2),
        # three answers, one of them given twice
        (
            [("1 * 1 = 1", "1"), ("1 + 1 = 2", "2"), ("1 + 2 = 3", "3"), ("1 * 2 = 2", "2")],
            ["inconsistent", None, "inconsistent", None],
        ),
        # an equation that fails; its answer still votes
        ([("4 * 6 = 25 cups.", "24"), (RIGHT, "24"), ("4 + 6 = 10", "10")], ["inconsistent", None, "inconsistent"]),
        # without an answer line, or with nothing before it
        ([("4 * 6 = 24", None), (RIGHT, "24"), ("  \n", "24")], ["unparsed", None, "unparsed"]),
        ([("I do not know", None), ("nor do I", None)], ["unparsed", "unparsed"]),
        ([], []),
    ],
)
def test_rationales_of_one_question(
    starter: Task, drafts: list[tuple[str, str | None]], reasons: list[str | None]
) -> None:
    assert [found.reason for found in check_rationales(starter, drafts)] == reasons


def test_what_is_told_of_a_fallen_rationale(starter: Task) -> None:
    drafts: list[tuple[str, str | None]] = [
        ("4 * 6 = 25 cups.", "24"),
        ("4 + 6 = 10", "10"),
        (RIGHT, "24"),
        ("Well.", None),
        ("It is 24.", "24"),
    ]
    assert [found.detail for found in check_rationales(starter, drafts)] == [
        "does not hold: 4 * 6 = 25",
        "answers 10, most say 24",
        "",
        "no answer can be read, or it was cut at the token limit",
        "no equation gives 24: it is only said",
    ]
    assert check_rationales(starter, drafts[1:3])[0].detail == "answers 10, and no answer has a majority"
