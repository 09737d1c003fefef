"""BIG-Bench Hard: answers, prompts, and the published data where it is at hand."""

import json
import os
from pathlib import Path

import pytest

from arte import recipe, tasks
from arte.errors import DataError
from arte.recipe import Style
from arte.rows import Item
from arte.tasks import Draft
from arte.tasks.bbh import FAMILIES, Bbh, family_weights, group_of, reader_of
from arte.tasks.bbh_prompts import TOLD

DATA = Path(os.environ.get("ARTE_BBH", Path(__file__).parents[3] / "shared" / "data" / "bbh"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the published files of BBH are not here; ARTE_BBH=FOLDER says where they are"
)


def settings(data: Path, **more: int) -> recipe.Task:
    return recipe.Task.model_validate({"name": "bbh/navigate", "data": str(data), "seeds": 3, "probes": 2, **more})


def published(folder: Path, examples: list[dict[str, object]], subtask: str = "navigate") -> Path:
    (folder / f"{subtask}.json").write_text(json.dumps({"canary": "x", "examples": examples}))
    return folder


@pytest.mark.parametrize(
    ("subtask", "text", "read", "found"),
    [
        ("navigate", " yes. ", "Yes", "Yes"),
        ("navigate", "I would say No", None, "No"),
        ("boolean_expressions", "It is False, so not True", None, "True"),
        ("formal_fallacies", "invalid", "invalid", "invalid"),
        ("formal_fallacies", "It is not valid but invalid", None, "invalid"),
        ("object_counting", "12 animals", "12", "12"),
        ("word_sorting", "Ant  bee\ncow", "ant bee cow", "cow"),
        ("snarks", "(B)", "(B)", "(B)"),
        ("snarks", "b", "(B)", "(B)"),
        ("snarks", "So (A) or, better, (B).", "so (a) or, better, (b).", "(B)"),
        ("movie_recommendation", "Monsters, Inc", "monsters, inc", "monsters, inc"),
        ("movie_recommendation", "(C) Alien", "(C)", "(C)"),
        ("dyck_languages", "])}", "] ) }", "] ) }"),
        ("dyck_languages", "( ] )", None, "] )"),
        ("dyck_languages", "so the rest is ] > )", None, "] > )"),
    ],
)
def test_answers_of_each_kind(subtask: str, text: str, read: str | None, found: str | None) -> None:
    reader = reader_of(subtask)
    assert (reader.read(text), reader.find(text)) == (read, found)


def test_every_subtask_is_told_and_has_its_family() -> None:
    assert len(TOLD) == 27
    assert sorted({group_of(subtask) for subtask in TOLD}) == sorted(
        group for groups in FAMILIES.values() for group in groups
    )
    assert [len(groups) for groups in FAMILIES.values()] == [10, 7, 3, 3]
    styles: list[Style] = ["steps", "brief", "equations", "child"]
    for subtask in TOLD:
        task = tasks.load(f"bbh/{subtask}")
        asked = {task.rationale_prompt("Who?", style)[0]["content"] for style in (*styles, None)}
        assert len(asked) == 5
        assert all(text.endswith(" End with a line of <ans>ANSWER</ans>.") for text in asked)
        assert all(text.startswith(TOLD[subtask].instruction) for text in asked)


def test_replies_hold_their_answer_in_tags() -> None:
    task = tasks.load("bbh/navigate")
    assert task.completion("One goes back.", "Yes") == "One goes back.\n<ans>Yes</ans>"
    assert task.completion("", "Yes") == "<ans>Yes</ans>"
    assert task.strict("<ans>No</ans> wait\n<ans>Yes</ans>.") == "Yes"
    assert task.strict("<ans>\nYes\n</ans>") == "Yes"
    assert task.strict("<ans>Yes, I think</ans>") == "Yes"
    assert task.strict("Yes") is None
    assert task.flexible("The answer is yes") == "Yes"
    assert task.parse_rationale("Back it is.\n<ans>Yes</ans>") == ("Back it is.", "Yes")
    assert task.parse_rationale("So yes") == ("So yes", "Yes")


def test_questions_are_drafted_with_their_answers_alone() -> None:
    task = tasks.load("bbh/snarks")
    seed = Item(id="a", question="Which?\nOptions:\n(A) one\n(B) two", rationale="", answer="(A)")
    request, opening = task.question_prompt([seed], 1)
    assert "each with its answer" in request["content"]
    assert opening["content"] == "Example 1: Which?\nOptions:\n(A) one\n(B) two\nAnswer: (A)\n\nExample 2:"
    drafts = [Draft("What?\nOptions:\n(A) x\n(B) y", None, "(B)")]
    assert task.parse_questions(task.question_reply([request, opening], drafts))[1:] == drafts


def test_splits_of_a_published_file(tmp_path: Path) -> None:
    examples: list[dict[str, object]] = [
        {"input": f"Take {n} steps.", "target": "No" if n else "Yes"} for n in range(10)
    ]
    data = published(tmp_path, [*examples, examples[0]])
    task = tasks.load("bbh/navigate")
    splits = task.splits(settings(data), 0)
    assert [len(each) for each in splits] == [3, 2, 5, 0]
    shown = {item.id for item in (*splits.seeds, *splits.probes)}
    assert [item.id for item in splits.test] == [
        f"bbh/navigate-{n:04d}" for n in range(10) if f"bbh/navigate-{n:04d}" not in shown
    ]
    assert task.splits(settings(data, test=4), 0).test == splits.test[:4]
    with pytest.raises(DataError, match=r"leave no test item of 10"):
        task.splits(settings(data, seeds=8), 0)
    with pytest.raises(DataError, match=r"need 11 train items, but there are 10"):
        task.splits(settings(data, seeds=9), 0)
    with pytest.raises(DataError, match=r"task.test=6 is more than its 5 test items"):
        task.splits(settings(data, test=6), 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"navigate.json: is not a file of BBH"),
        ('{"rows": []}', r"navigate.json: is not a file of BBH \(KeyError"),
        ('{"examples": []}', r"navigate.json: holds no examples"),
        ('{"examples": [3]}', r"navigate.json: is not a file of BBH"),
        ('{"examples": [{"input": "a"}]}', r"navigate.json example 0: expected a row such as"),
        ('{"examples": [{"input": "a", "target": "maybe"}]}', r"example 0: target is 'maybe', expected one of Yes, No"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "navigate.json").write_text(text)
    with pytest.raises(DataError, match=message):
        tasks.load("bbh/navigate").splits(settings(tmp_path), 0)


def test_no_file_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"navigate.json: No such file.*a folder with SUBTASK.json"):
        tasks.load("bbh/navigate").splits(settings(tmp_path), 0)


def test_means_are_over_groups() -> None:
    three, five = "logical_deduction_three_objects", "logical_deduction_five_objects"
    assert family_weights([three, five, "navigate", "snarks"]) == {
        "Logic": {three: 1 / 4, five: 1 / 4, "navigate": 1 / 2},
        "CommonSense": {"snarks": 1},
        "BBH": {three: 1 / 6, five: 1 / 6, "navigate": 1 / 3, "snarks": 1 / 3},
    }
    whole = family_weights([*TOLD])
    assert [len(those) for those in whole.values()] == [14, 7, 3, 3, 27]
    assert [sum(those.values()) for those in whole.values()] == pytest.approx([1] * 5)


@needs_data
@pytest.mark.parametrize("subtask", list(TOLD))
def test_gold_answers_score_right(subtask: str) -> None:
    task = Bbh(subtask)
    items = task.items(str(DATA))
    assert len(items) == {"causal_judgement": 187, "penguins_in_a_table": 146, "snarks": 178}.get(subtask, 250)
    for item in items:
        for reply in (task.completion("", item.answer), task.completion("Because of that.", item.answer)):
            assert task.right(task.strict(reply), item.answer)
    asked = task.question_prompt(items[:3], 2)
    drafts = task.parse_questions(asked[-1]["content"])
    assert [(draft.question, draft.target) for draft in drafts] == [(i.question, i.answer) for i in items[:3]]


@needs_data
def test_flexible_reading_of_gold_replies() -> None:
    """Everything that the tags hold is found without them, but for lists of words, which no mark sets off."""
    for subtask in TOLD:
        task = Bbh(subtask)
        items = task.items(str(DATA))
        found = sum(task.flexible(f"Because of that.\n{item.answer}") == item.answer for item in items)
        assert found == len(items), subtask
