"""A folder of instructions in Alpaca's form: its rows, how teacher and student are asked, what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from arte import config, preflight, recipe, task_check, tasks
from arte.errors import DataError, RecipeError
from arte.rows import Item
from arte.tasks import Draft
from arte.tasks.folder_task import FolderTask

YAML = """\
about: Everyday instructions with replies.
licence: Apache-2.0
things: instructions that people give to an assistant
data: {seeds: seeds.json, validation: validation.jsonl, test: test.json}
fields: {input: instruction, context: input, answer: output}
answer: {kind: open}
"""


def row(number: int, split: str, context: str = "") -> dict[str, str]:
    return {
        "instruction": f"Say {split} {number} in other words.",
        "input": context,
        "output": f" It is {number}.\n\nAnswer: 2 ",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six seeds, two validation and two test items; the second of each has an input."""
    made = tmp_path / "instructions"
    made.mkdir()
    (made / "task.yaml").write_text(YAML, encoding="utf-8")
    rows = {
        split: [row(n, split, "The cat,\nthe dog" if n == 1 else "") for n in range(count)]
        for split, count in (("seeds", 6), ("validation", 2), ("test", 2))
    }
    (made / "seeds.json").write_text(json.dumps(rows["seeds"], indent=2))
    (made / "test.json").write_text(json.dumps(rows["test"]))
    (made / "validation.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows["validation"]))
    return made


def settings() -> recipe.Task:
    return recipe.Task(name="x", seeds=6, probes=2)


def test_an_input_stands_below_its_instruction_and_an_empty_one_nowhere(folder: Path) -> None:
    task = tasks.load(str(folder))
    assert (task.open_ended, task.explains) == (True, False)
    splits = task.splits(settings(), 0)
    assert [item.question for item in splits.test] == [
        "Say test 0 in other words.",
        "Say test 1 in other words.\n\nThe cat,\nthe dog",
    ]
    assert {(item.rationale, item.answer) for item in splits.test} == {
        ("", "It is 0.\n\nAnswer: 2"),
        ("", "It is 1.\n\nAnswer: 2"),
    }
    assert len(splits.seeds) == 6
    none = {key: value for key, value in row(7, "none").items() if key != "input"}
    (folder / "test.json").write_text(json.dumps([none, row(8, "null") | {"input": None}]))
    questions = [item.question for item in tasks.load(str(folder)).splits(settings(), 0).test]
    assert questions == ["Say none 7 in other words.", "Say null 8 in other words."]


def test_the_teacher_lists_instructions_alone_and_replies_in_a_prompt_of_its_own(folder: Path) -> None:
    task = tasks.load(str(folder))
    seeds = [Item(id="a", question="Name a fish.", rationale="", answer="A carp.")]
    request, opening = task.question_prompt(seeds, 1)
    assert request["content"] == "Write 2 different instructions that people give to an assistant."
    assert opening["content"] == "Example 1: Name a fish.\n\nExample 2:"
    # A line of an instruction may begin with the words that other tasks' lists are read by
    draft = Draft("Read this.\n\nAnswer: yes\nSolution: no", None, None)
    reply = task.question_reply([request, opening], [draft])
    assert task.parse_questions(reply) == [Draft("Name a fish.", None, None), draft]
    asked = task.rationale_prompt("Name a bird.", "brief")
    assert [message["role"] for message in asked] == ["user", "assistant"] * 3 + ["user"]
    assert asked[1]["content"] == "It is 0.\n\nAnswer: 2"
    assert task.parse_rationale(" A wren,\nfor one. \n") == ("", "A wren,\nfor one.")
    assert task.parse_rationale(" \n") == ("", None)
    assert task.student_prompt("Name a bird.") == [{"role": "user", "content": "Name a bird."}]
    assert task.completion("", "A wren.") == "A wren."


def test_the_check_shows_its_prompts_and_finds_it_sound(folder: Path) -> None:
    said = task_check.lines(task_check.check(folder))
    assert "--- the teacher is asked for a reply" in said
    assert said[-1] == "every gold answer is read as it should be"
    assert not any("accuracy" in line for line in said)
    listed = row(9, "x") | {"instruction": "Count.\nExample 2: one"}
    (folder / "seeds.json").write_text(json.dumps([row(0, "seeds"), listed]))
    [problem] = task_check.check(folder).problems
    assert "seeds.json:1: cannot stand in the teacher's list, as a line of it begins with `Example N:`;" in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n {"instruction": "a", "output": "b"},\n {"instruction": "c"}\n]', r"test.json:3: no field 'output'"),
        ('[\n {"instruction": "a", "output": "b"},\n\n {"instruction": " ", "output": "b"}]', r":4: instruction is e"),
        ('[{"instruction": "a", "output": ""}]', r"test.json:1: output is empty"),
        ('[{"instruction": "a", "input": ["b"], "output": "c"}]', r"test.json:1: 'input' is list, not text"),
        ('[\n 3]', r"test.json:2: found int, expected an object such as .*\"input\": \"…\""),
        ('[\n{"a": 1},\n{"a": 2]', r"test.json:3: is not JSON \(Expecting ',' delimiter: line 3"),
        ('[{"a": 1},\n]', r"test.json:2: is not JSON"),
        ('[{"a": 1}\n{"a": 2}]', r"test.json:1: behind this object something else stands than `,` or the last `\]`"),
        ('[{"a": 1}] []', r"test.json:1: behind this object something else stands"),
        ('{"instruction": "a"}', r"test.json: is no JSON array; .*one object a line in a .jsonl file"),
        (" [ ] ", r"test.json: holds no rows"),
        ("", r"test.json: is no JSON array"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_file_and_line(folder: Path, text: str, message: str) -> None:
    (folder / "test.json").write_text(text)
    with pytest.raises(DataError, match=message):
        FolderTask(folder).splits(settings(), 0)


def test_an_open_answer_has_no_solution_beside_it(folder: Path) -> None:
    (folder / "task.yaml").write_text(YAML.replace("answer: output}", "answer: output, rationale: why}"))
    with pytest.raises(DataError, match=r"task.yaml: fields.rationale: an open answer has no solution beside it"):
        FolderTask(folder)


def test_settings_that_want_right_answers_are_refused(folder: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_text(
        "task: {name: ., seeds: 6, probes: 2, validation: 2}\n"
        "teacher: {name: tiny-taught-teacher}\nstudent: {name: tiny-random-student}\n"
        "prefer: {score: icl_accuracy, probes: irt}\ntailor: {rationales: 0}\n"
    )
    with pytest.raises(RecipeError) as caught:
        preflight.check(config.load_recipe(path))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "prefer.score", "prefer.probes", "tailor.rationales",
    ]  # fmt: skip
    [problem] = task_check.check(folder).problems
    assert "(the answers of its task are open) cannot be run" in problem
    asked = ["prefer.score=influence", "prefer.probes=random", "tailor.rationales=1"]
    preflight.check(config.load_recipe(path, overrides=asked))


def test_tasks_of_a_run_are_all_open_or_none_is(folder: Path) -> None:
    other = folder.parent / "letters"
    folder.rename(other)
    shutil.copytree(other, folder)
    several = tasks.taught(f"{folder},{other}")
    assert several.open_ended
    assert several.of(Item(task="letters", id="a", question="q", rationale="", answer="b")).open_ended
    with pytest.raises(
        DataError, match=r"answers of instructions, letters are open, and those of starter right or wrong; .*two runs"
    ):
        tasks.taught(f"{folder},starter,{other}")


def test_the_example_is_sound() -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "instructions"
    checked = task_check.check(example)
    assert (checked.problems, checked.counts) == ([], {"seeds": 44, "validation": 24, "test": 56})
    found = config.load_recipe(example / "recipe.yaml", "starter")
    assert (found.elicit.seeds_per_prompt, found.elicit.drafts_per_prompt, found.elicit.completions) == (6, 2, 4)
