import json
from pathlib import Path

import pytest

from arte import config
from tests.cli.command import run


def test_a_new_task_is_whole_and_names_what_is_few(tmp_path: Path) -> None:
    made = run("task", "new", str(tmp_path / "tickets"))
    assert made.code == 0, made.err
    assert sorted(path.name for path in (tmp_path / "tickets").iterdir()) == [
        "recipe.yaml", "seeds.jsonl", "task.yaml", "test.jsonl", "validation.jsonl",
    ]  # fmt: skip
    checked = run("task", "check", str(tmp_path / "tickets"))
    assert checked.code == 0, checked.err
    assert "Example 4:" in checked.out
    assert "8 seeds, 8 validation, 8 test" in checked.out
    assert "accuracy over 8 items has a standard error of up to 17.7 points" in checked.out
    assert "every gold answer is read as it should be" in checked.out
    again = run("task", "new", str(tmp_path / "tickets"))
    assert (again.code, "is there already" in again.err) == (1, True)


def test_what_is_to_be_mended_is_named(tmp_path: Path) -> None:
    assert run("task", "new", str(tmp_path / "tickets")).code == 0
    folder = tmp_path / "tickets"
    lines = (folder / "test.jsonl").read_text().splitlines()
    first = json.loads((folder / "seeds.jsonl").read_text().splitlines()[0])
    wrong = [first, {"message": "Hm.", "team": "sales"}, {"message": "", "team": "returns"}]
    (folder / "test.jsonl").write_text("\n".join([*lines, *map(json.dumps, wrong)]) + "\n")
    seed = {"message": "Hello.\nAnswer: my question", "team": "billing"}
    (folder / "seeds.jsonl").write_text((folder / "seeds.jsonl").read_text() + json.dumps(seed) + "\n")
    checked = run("task", "check", str(tmp_path / "tickets"))
    assert checked.code == 1
    mended = [line for line in checked.out.splitlines() if line.startswith("to mend: ")]
    for line, what in zip(
        sorted(mended),
        [
            "seeds.jsonl:9: cannot stand in the teacher's list",
            "test.jsonl:10: team is 'sales', expected one of billing, shipping, returns, account",
            "test.jsonl:11: message is empty",
            "test.jsonl:9: also in seeds",
        ],
        strict=True,
    ):
        assert what in line


def test_a_recipe_that_asks_for_more_items_than_there_are(tmp_path: Path) -> None:
    assert run("task", "new", str(tmp_path / "tickets")).code == 0
    recipe = tmp_path / "tickets" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seeds: 8", "seeds: 80"))
    checked = run("task", "check", str(tmp_path / "tickets"))
    assert checked.code == 1
    for scale in ("starter", "gpu"):
        assert f"recipe.yaml, scale {scale}: " in checked.out
    assert checked.out.count("task.seeds=80 is more than the 8 items of seeds (seeds.jsonl)") == 2


def test_a_gold_answer_that_is_not_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "task.yaml").write_text("about: x\nthings: words\nanswer: {kind: python, file: read.py}\n")
    (folder / "read.py").write_text("def read(text):\n    return text[:-1] or None\n")
    for split in ("seeds", "validation", "test"):
        (folder / f"{split}.jsonl").write_text(json.dumps({"input": split, "answer": "abc"}) + "\n")
    checked = run("task", "check", str(tmp_path / "cut"))
    assert checked.code == 1
    assert "strict-match reads 'a' in its own gold reply, expected 'ab'" in checked.out
    (folder / "read.py").write_text("def read(text):\n    return text[99]\n")
    raised = run("task", "check", str(tmp_path / "cut"))
    assert raised.code == 1
    assert "read.py:2: read('abc') raises IndexError" in raised.out


@pytest.mark.parametrize("name", [".", "./tickets", "../here/tickets"])
def test_a_tasks_folder_is_found_from_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(tmp_path)
    path = (here / "tickets" if name == "." else here) / "recipe.yaml"
    path.parent.mkdir(exist_ok=True)
    model = "{name: tiny-random-student}"
    path.write_text(f"task: {{name: {name}}}\nteacher: {model}\nstudent: {model}\n")
    recipe = config.load_recipe(path)
    assert recipe.task.name == str((here / "tickets").resolve())
    assert recipe.name == path.parent.name
    monkeypatch.chdir(here)
    assert config.load_recipe(path, overrides=["task.name=./other"]).task.name == str((here / "other").resolve())
