"""Every problem of a recipe at once, in words: where, found, expected, the nearest name, the line."""

from pathlib import Path

import pytest

from arte import config, problems
from arte.errors import RecipeError
from arte.recipe import Recipe

BASE = "task: {name: starter}\nteacher: {name: a}\nstudent: {name: b}\n"


def told(tmp_path: Path, text: str, overrides: list[str], scale: str = "smoke") -> list[str]:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        config.load_recipe(path, scale, overrides)
    return caught.value.problems


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("elicit.questions=many", "elicit.questions: found 'many', expected a whole number of at least 1"),
        ("elicit.questions=0", "elicit.questions: found 0, expected a whole number of at least 1"),
        ("elicit.questions=2.0", "elicit.questions: found 2.0, expected a whole number of at least 1"),
        ("elicit.questions=true", "elicit.questions: found true, expected a whole number of at least 1"),
        ("elicit.questions='5'", "elicit.questions: found '5', expected a whole number of at least 1"),
        ("elicit.top_p=1.5", "elicit.top_p: found 1.5, expected a number above 0 and at most 1"),
        ("elicit.near_duplicate=2", "elicit.near_duplicate: found 2, expected a number from 0 to 1"),
        ("align.beta=0", "align.beta: found 0, expected a number above 0"),
        ("align.beta=1e999", "align.beta: found '1e999', expected a number above 0"),
        ("align.beta=.nan", "align.beta: found '.nan', expected a number above 0"),
        ("prefer.margin=-1", "prefer.margin: found -1, expected a number of at least 0"),
        ("distill.packing=yes", "distill.packing: found 'yes', expected true or false"),
        ("about=5", "about: found 5, expected text"),
        ("task.test=few", "task.test: found 'few', expected a whole number of at least 1 or null"),
        (
            "prefer.score=icl_accurcy",
            "prefer.score: found 'icl_accurcy', expected one of icl_accuracy, icl_logprob, influence, "
            "influence_first_order, likelihood, rank_surprisal; did you mean icl_accuracy?",
        ),
        ("elicit.styles=[steps, 3]", "elicit.styles[1]: found 3, expected one of steps, brief, equations, child"),
        (
            "elicit.styles=[]",
            "elicit.styles: found [], expected a list of at least one, each one of steps, brief, equations, child",
        ),
        ("devices=this-machine", "devices: found 'this-machine', expected a list, each text"),
        ("devices=[a, b, a]", "devices: 'a' is listed twice"),
        (
            "tailor=5",
            "tailor: found 5, expected a section with over, choose, temperature, rationales",
        ),
        ("elicit.cuont=5", "elicit.cuont: no such setting; did you mean elicit.questions?"),
        ("questions=5", "questions: no such setting; did you mean elicit.questions?"),
        ("aling.beta=5", "aling.beta: no such setting; did you mean align.beta?"),
        ("distil.epochs=5", "distil.epochs: no such setting; did you mean align.epochs or distill.epochs?"),
        ("xyzzy=5", "xyzzy: no such setting"),
        ("align.micro_batch_size=3", "align.micro_batch_size: found 3, expected a divisor of align.batch_size (16)"),
        ("elicit.seeds_per_prompt=65", "elicit.seeds_per_prompt: found 65, expected at most task.seeds (64)"),
        ("about=a: b", "about: 'a: b' is not a YAML value; put it in quotes"),
        ("about=[a", "about: '[a' is not a YAML value; put it in quotes"),
        ("task.test=", "task.test: has no value; write task.test=null for none, task.test=\"''\" for empty"),
        ("nothing", "nothing: expected dotted.key=value, as in elicit.questions=500"),
        ("=5", "=5: expected dotted.key=value, as in elicit.questions=500"),
        ("a..b=5", "a..b=5: expected dotted.key=value, as in elicit.questions=500"),
        ("name=x", "name: not set by an override; the file's name is the recipe's"),
        ("scale=gpu", "scale: not set by an override; write --scale gpu"),
    ],
)
def test_overrides(tmp_path: Path, override: str, problem: str) -> None:
    assert told(tmp_path, BASE, [override]) == [f"{problem} (command line)"]


def test_cross_checks_of_two_overrides(tmp_path: Path) -> None:
    assert told(tmp_path, BASE, ["export.test=500", "task.test=400"]) == [
        "export.test: found 500, expected at most task.test (400) (command line)"
    ]
    assert told(tmp_path, BASE, ["tailor.rationales=2"]) == [
        "tailor.temperature: found 0, expected above 0, as tailor.rationales is 2"
    ]
    none = ["prefer.question_pairs=0", "prefer.rationale_pairs=0"]
    assert told(tmp_path, BASE, none) == [
        "prefer.rationale_pairs: found 0, as is prefer.question_pairs; the arm arte needs pairs (command line)"
    ]
    path = tmp_path / "mine.yaml"
    assert config.load_recipe(path, "smoke", [*none, "arms=[unaligned]"]).arms == ("unaligned",)
    assert config.load_recipe(path, "smoke", ["export.test=400", "task.test=400"]).export.test == 400
    assert config.load_recipe(path, "smoke", ["export.test=400"]).task.test is None


def test_cross_checks_of_several_replies_to_a_prompt(tmp_path: Path) -> None:
    assert told(tmp_path, BASE, ["prefer.chosen=above_zero", "prefer.score=likelihood"]) == [
        "prefer.chosen: found above_zero, which likelihood says nothing of; take one of influence, "
        "influence_first_order, icl_logprob (command line)",
        "elicit.questions_per_prompt: found 5, expected 1, as prefer.chosen is above_zero",
        "elicit.completions: found 1, expected 2 or more, as prefer.chosen is above_zero",
    ]
    assert told(tmp_path, BASE, ["elicit.seeds_per_prompt=60", "elicit.drafts_per_prompt=5"]) == [
        "elicit.drafts_per_prompt: found 5: before there are drafts a prompt shows 65 seeds, and task.seeds is 64 "
        "(command line)"
    ]
    montessori = ["prefer.chosen=above_zero", "prefer.score=influence", "elicit.questions_per_prompt=1"]
    montessori += ["elicit.completions=4", "elicit.seeds_per_prompt=6", "elicit.drafts_per_prompt=2"]
    found = config.load_recipe(tmp_path / "mine.yaml", "smoke", montessori)
    assert (found.elicit.completions, found.prefer.chosen) == (4, "above_zero")


def test_cross_checks_of_an_alignment_taken_over(tmp_path: Path) -> None:
    taken = "align.adapter=runs/before"
    assert told(tmp_path, BASE, [taken, "align.skip=true", "rounds=2", "arms=[verified, arte, shuffled_pairs]"]) == [
        "align.adapter: is given, and align.skip is true: take one of them away (command line)",
        "rounds: found 2, expected 1, as align.adapter takes over what another run aligned (command line)",
        "arms: shuffled_pairs is aligned by pairs of its own; with align.adapter only arte is aligned (command line)",
    ]
    none = ["prefer.question_pairs=0", "prefer.rationale_pairs=0"]
    recipe = config.load_recipe(tmp_path / "mine.yaml", "smoke", [taken, *none])
    assert (recipe.align.adapter, recipe.arms) == ("runs/before", ("untrained", "verified", "arte"))


def test_cross_checks_of_a_teacher_on_a_server(tmp_path: Path) -> None:
    assert told(tmp_path, BASE, ["teacher.engine=openai"]) == [
        "teacher.server.url: missing, expected where the server of teacher.engine=openai answers (line 2)",
        "teacher.weights: missing: the arm arte needs an aligned teacher, and a served one cannot be trained. Name a "
        "copy of its weights (a hub id or a folder), or leave alignment out with align.skip=true (line 2)",
    ]
    path, served = tmp_path / "mine.yaml", ["teacher.engine=openai", "teacher.server.url=http://127.0.0.1:1/v1"]
    assert config.load_recipe(path, "smoke", [*served, "teacher.weights=b"]).arms == ("untrained", "verified", "arte")
    assert config.load_recipe(path, "smoke", [*served, "align.skip=true"]).arms == ("untrained", "verified")
    assert config.load_recipe(path, "smoke", [*served, "arms=[covered]"]).teacher.server.requests == 64
    assert told(tmp_path, BASE, ["align.skip=true", "arms=[arte, shuffled_pairs]"]) == [
        "align.skip: found true, which leaves none of the arms arte, shuffled_pairs (command line)"
    ]


def test_all_of_them_at_once_from_file_scales_and_command_line(tmp_path: Path) -> None:
    text = """\
name: other
seed: -1
task: {name: starter, seed: 3}
teacher: {revision: main}
elicit:
  questions: many
  questions: 5
aling: {beta: 1, epochs: 2}
align.beta: 0.2
scales:
  smoke:
    student: {name: b}
    align: {batch_size: 5}
  gpu:
    student: {name: c}
    align:
      epochs: [1]
    task:
      probes: few
  smol: {}
"""
    found = told(tmp_path, text, ["distill.method=half", "nothing", "evaluate.shot=1"])
    assert sorted(found) == sorted(
        [
            "elicit.questions: given twice (lines 6 and 7)",
            "name: not set in a recipe file; the file's name is the recipe's (line 1)",
            "scales.smol: no such scale; did you mean smoke? (line 20)",
            "nothing: expected dotted.key=value, as in elicit.questions=500 (command line)",
            "seed: found -1, expected a whole number of at least 0 (line 2)",
            "task.seed: no such setting; did you mean task.seeds? (line 3)",
            "teacher.name: missing, expected text (line 4)",
            "aling: no such setting; did you mean align? (line 8)",
            "align.beta: write it as beta in the section align (line 9)",
            "distill.method: found 'half', expected one of full, lora (command line)",
            "evaluate.shot: no such setting; did you mean evaluate.shots? (command line)",
            "align.micro_batch_size: found 2, expected a divisor of align.batch_size (5) (line 13)",
            "align.epochs: found [1], expected a number above 0 (line 17)",
            "task.probes: found 'few', expected a whole number of at least 1 (line 19)",
        ]
    )


@pytest.mark.parametrize("bad", ["scales: 5\n", "scales:\n  smoke: 5\n"])
def test_scales_of_the_wrong_kind(tmp_path: Path, bad: str) -> None:
    (found,) = told(tmp_path, BASE + bad, [])
    assert "found 5, expected a section" in found


def test_a_missing_section_says_what_it_holds(tmp_path: Path) -> None:
    assert told(tmp_path, "task: {name: starter}\nteacher: {name: a}\n", []) == [
        "student: missing, expected a section with name, source, revision, dtype, drafts_in, trust_remote_code, "
        "engine, vllm"
    ]


def test_the_message_as_the_reader_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(BASE, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        config.load_recipe("mine.yaml", "smoke", ["elicit.questions=many", "aling.beta=1"])
    assert str(caught.value) == (
        "mine.yaml cannot be run:\n"
        "  elicit.questions: found 'many', expected a whole number of at least 1 (command line)\n"
        "  aling.beta: no such setting; did you mean align.beta? (command line)"
    )


def test_every_setting_can_be_described() -> None:
    settings = problems.settings()
    sections = [name for name, node in settings.items() if "properties" in node and "." not in name]
    assert sections == [
        name for name, field in Recipe.model_fields.items() if hasattr(field.annotation, "model_fields")
    ]
    assert len(settings) >= 80
    for name, node in settings.items():
        assert problems.expected(node), name
        assert name in ("name", "scale") or problems.nearest(name) == [name]
