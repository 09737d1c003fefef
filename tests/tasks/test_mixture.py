"""Several tasks in one run: which there are, how their items are shared out, and that each is asked as its own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from arte import config, plan, recipe, tasks
from arte.errors import DataError, UnknownName
from arte.rows import Example, Item
from arte.tasks import GROUPS
from arte.tasks.mixture import Mixture, by_task, first_of_each

DATA = Path(os.environ.get("ARTE_BBH", Path(__file__).parents[3] / "shared" / "data" / "bbh"))
ASKED = {"navigate": ("Take {} steps. Are you back?", "No"), "object_counting": ("I have {} pens. How many?", "{}")}


def published(folder: Path) -> Path:
    for subtask, (question, target) in ASKED.items():
        examples = [{"input": question.format(n), "target": target.format(n)} for n in range(9)]
        (folder / f"{subtask}.json").write_text(json.dumps({"examples": examples}))
    return folder


def settings(data: Path) -> recipe.Task:
    return recipe.Task(name="bbh/navigate,bbh/object_counting", data=str(data), seeds=2, probes=3, test=4)


def both() -> Mixture:
    found = tasks.taught("bbh/navigate, bbh/object_counting")
    assert isinstance(found, Mixture)
    return found


def test_names_that_stand_for_several() -> None:
    assert {name: len(those) for name, those in GROUPS.items()} == {
        "bbh": 27, "bbh/Logic": 14, "bbh/CommonSense": 7, "bbh/Math": 3, "bbh/Knowledge": 3,
    }  # fmt: skip
    assert tasks.named("starter") == ["starter"]
    assert tasks.named("starter,bbh/Math") == [
        "starter", "bbh/boolean_expressions", "bbh/geometric_shapes", "bbh/multistep_arithmetic_two",
    ]  # fmt: skip
    assert [tasks.taught(name).name for name in ("bbh", "bbh/Math,starter", "starter")] == [
        "bbh", "bbh/Math,starter", "starter",
    ]  # fmt: skip
    assert not isinstance(tasks.taught("starter"), Mixture)
    with pytest.raises(UnknownName, match=r"'bbh/Lojic'; did you mean bbh/Logic"):
        tasks.taught("starter,bbh/Lojic")
    with pytest.raises(DataError, match="two tasks are called starter"):
        tasks.taught("starter,starter")


def test_items_know_their_task_and_come_in_turns(tmp_path: Path) -> None:
    splits = both().splits(settings(published(tmp_path)), 0)
    assert [len(each) for each in splits] == [4, 6, 8, 0]
    for items in splits:
        assert [item.task for item in items] == ["bbh/navigate", "bbh/object_counting"] * (len(items) // 2)
        assert all(item.id.startswith(f"{item.task}-") for item in items)
    alone = tasks.load("bbh/navigate").splits(settings(tmp_path), 0)
    those = by_task(splits.test)["bbh/navigate"]
    assert [item.model_copy(update={"task": None}) for item in those] == alone.test
    assert [item.id for item in first_of_each(splits.test, 2)] == [item.id for item in splits.test[:4]]


def test_each_row_is_asked_and_read_as_its_own_task_does_it() -> None:
    task = both()
    steps = Example(task="bbh/navigate", id="a", question="Back?", rationale="Yes, back.", answer="Yes")
    pens = Item(task="bbh/object_counting", id="b", question="Pens?", rationale="", answer="3")
    assert task.of(steps).student_prompt("Back?") == tasks.load("bbh/navigate").student_prompt("Back?")
    assert task.of(steps).strict("<ans>yes</ans>") == "Yes"
    assert task.of(pens).strict("<ans>3 pens</ans>") == "3"
    with pytest.raises(DataError, match=r"of the task None, expected one of bbh/navigate, bbh/object_counting"):
        task.of(pens.model_copy(update={"task": None}))
    alone = tasks.load("bbh/navigate")
    assert alone.of(pens) is alone


def test_a_run_over_one_task_writes_rows_as_before() -> None:
    item = Item(id="a", question="q", rationale="r", answer="1")
    assert "task" not in item.model_dump_json()
    assert Item.model_validate_json(item.model_dump_json()) == item
    assert '"task":"t"' in item.model_copy(update={"task": "t"}).model_dump_json()


def test_problems_that_two_tasks_share_are_refused(tmp_path: Path) -> None:
    same = [{"input": f"{n}?", "target": "Yes"} for n in range(9)]
    for subtask in ("navigate", "web_of_lies"):
        (tmp_path / f"{subtask}.json").write_text(json.dumps({"examples": same}))
    chosen = settings(tmp_path).model_copy(update={"name": "bbh/navigate,bbh/web_of_lies"})
    with pytest.raises(DataError, match=r"the test item bbh/\w+-000\d is the seed or probe bbh/\w+-000\d too"):
        tasks.taught(chosen.name).splits(chosen, 0)


def test_ids_and_data_of_tasks_that_are_not_from_one_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        made = tmp_path / name
        made.mkdir()
        (made / "task.yaml").write_text("about: a\nthings: things\nanswer: {kind: exact}\n")
        for split in ("seeds", "validation", "test"):
            rows = [{"input": f"{split} {number} {n}", "answer": "x"} for n in range(3)]
            (made / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(
        "task: {name: './one, ./two, starter'}\nteacher: {name: t}\nstudent: {name: s}\n"
    )
    named = config.load_recipe(tmp_path / "recipe.yaml", "starter").task.name
    assert named == f"{tmp_path / 'one'},{tmp_path / 'two'},starter"
    task = tasks.taught(named.removesuffix(",starter"))
    assert task.name == "one,two"
    assert "+" in task.identity
    splits = task.splits(recipe.Task(seeds=2, probes=2), 0)
    ids = [item.id for items in splits for item in items]
    assert len(ids) == len(set(ids)) == 2 * (2 + 2 + 3)


def test_a_plan_counts_all_tasks_and_a_draft_s_own_probes() -> None:
    def planned(*more: str) -> dict[str, dict[str, Any]]:
        few = ["task.name=bbh/Math", "task.test=10", "task.probes=5", "export.test=4", "prefer.drafts=6", *more]
        return {row["stage"]: row for row in plan.rows(config.load_recipe("bbh", "starter", few))}

    rows = planned()
    assert rows["prefer"]["note"] == "18 drafts × 5 probes"
    assert rows["prefer"]["tokens_in"] == 18 * 5 * (plan.STUDENT_PROMPT + plan.ANSWER)
    assert rows["evaluate"]["tokens_in"] == 3 * 30 * plan.STUDENT_PROMPT
    reused = planned("align.adapter=runs/before", "arms=[untrained,arte]")
    assert [reused[stage]["tokens_in"] for stage in ("elicit", "prefer", "align")] == [0, 0, 0]
    assert reused["tailor"] == rows["tailor"]


@pytest.mark.skipif(
    not DATA.is_dir(), reason="the published files of BBH are not here; ARTE_BBH=FOLDER says where they are"
)
def test_all_of_bbh_at_the_papers_scale() -> None:
    chosen = config.load_recipe("bbh", "paper", [f"task.data={DATA}"]).task
    splits = tasks.taught("bbh").splits(chosen, 0)
    assert (len(splits.seeds), len(splits.probes)) == (27 * 8, 27 * 100)
    # 250 each, but 187, 146 and 178 of three; a question that stands twice in its file counts once.
    assert 6511 - 27 * 108 - 10 <= len(splits.test) <= 6511 - 27 * 108
    assert len(by_task(splits.test)) == 27
