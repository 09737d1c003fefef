"""A recipe from file, scale and overrides."""

from pathlib import Path

import pytest

from arte import config, resources
from arte.errors import RecipeError, UnknownName
from arte.recipe import SCALES, Recipe

FILE = """\
about: a test
task: {name: starter}
teacher: {name: big}
student: {name: small}
align: {learning_rate: 1e-5, epochs: 2}
elicit: {questions: 10, styles: [brief, child]}
scales:
  smoke: {}
  starter:
    elicit: {questions: 20}
  gpu:
    elicit: {styles: [steps]}
    teacher: {name: bigger, revision: on}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_scale_over_common_and_override_over_both(file: Path) -> None:
    common = config.load_recipe(file, "smoke")
    assert (common.name, common.scale, common.about) == ("mine", "smoke", "a test")
    assert (common.elicit.questions, common.elicit.styles) == (10, ("brief", "child"))
    assert (common.align.learning_rate, common.align.epochs, common.align.beta) == (1e-5, 2.0, 0.1)

    starter = config.load_recipe(file, "starter")
    assert (starter.elicit.questions, starter.elicit.styles) == (20, ("brief", "child"))

    gpu = config.load_recipe(file, "gpu", ["elicit.questions=30", "task.test=null", "arms=[untrained, arte]"])
    assert (gpu.elicit.questions, gpu.elicit.styles) == (30, ("steps",))
    assert (gpu.teacher.name, gpu.teacher.revision, gpu.student.name) == ("bigger", "on", "small")
    assert (gpu.task.test, gpu.arms) == (None, ("untrained", "arte"))


def test_the_last_override_counts(file: Path) -> None:
    recipe = config.load_recipe(file, "smoke", ["align.beta=0.2", "align.beta=5e-1", "seed=7"])
    assert (recipe.align.beta, recipe.seed) == (0.5, 7)


def test_a_file_without_scales_is_the_same_at_all(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("task: {name: starter}\nteacher: {name: a}\nstudent: {name: b}\n", encoding="utf-8")
    recipes = [config.load_recipe(path, scale) for scale in SCALES]
    assert [recipe.scale for recipe in recipes] == ["smoke", "starter", "gpu", "paper"]
    assert len({recipe.model_dump_json(exclude={"scale"}) for recipe in recipes}) == 1


def test_unknown_names(file: Path) -> None:
    with pytest.raises(UnknownName, match=r"no recipe is called 'gsm9k'; did you mean gsm8k\? \(known: bbh, gsm8k"):
        config.load_recipe("gsm9k", "smoke")
    with pytest.raises(UnknownName, match="no scale is called 'smok'; did you mean smoke"):
        config.load_recipe(file, "smok")
    with pytest.raises(UnknownName, match=r"no scale of .*mine.yaml is called 'paper'.*\(known: gpu, smoke, starter\)"):
        config.load_recipe(file, "paper")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "the file cannot be read: No such file or directory"),
        (b"about: \xff\n", "byte 7 is not UTF-8; save the file as UTF-8"),
        (b"a: [1\n", "line 2: not YAML: expected ',' or ']', but got '<stream end>'"),
        (b"just words\n", "line 1: found 'just words', expected `key: value` lines"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        config.load_recipe(path, "smoke")
    assert caught.value.problems == [problem]
    assert str(path) in str(caught.value)


def test_every_recipe_at_every_scale_comes_back_from_disk(tmp_path: Path) -> None:
    seen = 0
    for name in config.recipe_names():
        for scale in config.scales_of(name):
            recipe = config.load_recipe(name, scale)
            config.save(recipe, tmp_path / "recipe.yaml")
            assert config.load_saved(tmp_path / "recipe.yaml") == recipe
            seen += 1
    # BBH has no scale smoke: no model made here drafts anything of its kind.
    assert seen == len(SCALES) * len(list(resources.folder("recipes").glob("*.yaml"))) - 1


def test_saved_values_are_exact(file: Path, tmp_path: Path) -> None:
    overrides = ["align.learning_rate=1.2345678901234567e-07", "teacher.revision='1e5'", "about='on: #1'", "seed=0"]
    recipe = config.load_recipe(file, "gpu", overrides)
    assert (recipe.align.learning_rate, recipe.teacher.revision) == (1.2345678901234567e-07, "1e5")
    config.save(recipe, tmp_path / "saved.yaml")
    saved = config.load_saved(tmp_path / "saved.yaml")
    assert saved == recipe
    assert saved.about == "on: #1"
    assert (tmp_path / "saved.yaml").read_text(encoding="utf-8") == config.to_yaml(recipe)


def test_a_saved_recipe_that_was_spoilt(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    config.save(config.load_recipe("gsm8k", "smoke"), path)
    path.write_text(path.read_text(encoding="utf-8").replace("scale: smoke", "scale: tiny"), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        config.load_saved(path)
    assert caught.value.problems == ["scale: found 'tiny', expected one of smoke, starter, gpu, paper (line 2)"]


def test_paper_scale_has_the_papers_numbers() -> None:
    paper = config.load_recipe("gsm8k", "paper")
    assert (paper.elicit.questions, len(paper.elicit.styles), paper.task.probes) == (250, 4, 40)
    assert (paper.prefer.score, paper.prefer.question_pairs, paper.prefer.rationale_pairs) == ("icl_accuracy", 50, 250)
    assert (paper.align.learning_rate, paper.align.batch_size, paper.distill.examples) == (1e-7, 16, 6750)
    assert (paper.teacher.name, paper.student.name) == ("meta-llama/Meta-Llama-3-70B-Instruct", "google/gemma-2b")


def test_about_is_one_line() -> None:
    lines = [config.about(name) for name in config.recipe_names()]
    assert lines
    assert all("\n" not in line and line.endswith("starter, gpu, paper)") for line in lines)


def test_recipe_needs_no_file_to_be_made() -> None:
    task, model = {"name": "starter"}, {"name": "m"}
    recipe = Recipe.model_validate({"name": "n", "scale": "gpu", "task": task, "teacher": model, "student": model})
    assert recipe.elicit.questions == 250
