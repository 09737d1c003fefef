import random
from collections import Counter

import pytest

from arte import recipe, tasks
from arte.errors import DataError, UnknownName
from arte.rows import Item
from arte.tasks.equations import equations_hold
from arte.tasks.starter import SEEN, UNSEEN, Starter
from arte.tasks.starter_work import Draws, Work

ORDINARY = [template for kind in SEEN for template in kind]
HELD_OUT = [template for kind in UNSEEN for template in kind]


FIRST = {
    "id": "starter-test3-0000",
    "question": "A class of 13 pupils and a class of 12 pupils visit the zoo. How many pupils go in total?",
    "rationale": "Together 13 + 12 = 25 pupils go.",
    "answer": "25",
    "steps": 1,
    "template": "two_classes",
}


def splits(seed: int = 0, seeds: int = 64, probes: int = 24, test: int | None = None) -> tasks.Splits:
    return Starter().splits(recipe.Task(name="starter", seeds=seeds, probes=probes, test=test), seed)


def test_there_are_templates_of_every_length() -> None:
    assert [len(kind) for kind in SEEN] == [12, 12, 12]
    assert [len(kind) for kind in UNSEEN] == [3, 3, 3]
    assert len({template.__name__ for template in ORDINARY + HELD_OUT}) == 45


def test_every_template_makes_right_problems() -> None:
    operations = Counter[str]()
    for steps, kind in enumerate(zip(SEEN, UNSEEN, strict=True), start=1):
        for template in [*kind[0], *kind[1]]:
            questions = set()
            for number in range(60):
                problem = template(Draws(random.Random(f"{template.__name__}-{number}")))
                lines = problem.rationale.split("\n")
                assert problem.steps == len(lines) == steps
                assert all(line.count(" = ") == 1 and line.endswith(".") for line in lines)
                assert equations_hold(problem.rationale) is None
                assert lines[-1].split(" = ")[1].split(" ")[0] == str(problem.answer)
                assert 0 < problem.answer < 1_000
                assert "<<" not in problem.rationale
                assert "{" not in problem.question + problem.rationale
                assert problem.question.endswith("?")
                operations.update(sign for line in lines for sign in "+-*/" if f" {sign} " in line)
                questions.add(problem.question)
            assert len(questions) > 40, template.__name__
    assert set(operations) == set("+-*/")
    assert min(operations.values()) > 300, operations


def test_wrong_numbers_in_a_rationale_are_seen() -> None:
    """The check above can fail: each line of each item, with its result off by one, raises an alarm."""
    seen = 0
    for item in splits().test + splits().unseen:
        for line in item.rationale.split("\n"):
            left, right = line.split(" = ")
            result, _, rest = right.partition(" ")
            assert equations_hold(f"{left} = {int(result) + 1} {rest}") is not None
            seen += 1
    assert seen > 1_000


def test_splits_share_no_problem_and_have_the_same_mix() -> None:
    made = splits(seeds=300, probes=99)
    assert [len(items) for items in made] == [300, 99, 400, 120]
    everything = [item for items in made for item in items]
    assert len({item.question for item in everything}) == len({item.id for item in everything}) == 919
    for items in made:
        mix = Counter(item.steps for item in items)
        assert set(mix) == {1, 2, 3}
        assert max(mix.values()) - min(mix.values()) <= 1
    ordinary, held_out = ({template.__name__ for template in kind} for kind in (ORDINARY, HELD_OUT))
    assert {item.template for item in made.test} == {item.template for item in made.seeds} == ordinary
    assert {item.template for item in made.probes} <= ordinary
    assert {item.template for item in made.unseen} == held_out


def test_seeds_follow_the_seed_and_the_test_never_changes() -> None:
    first, again, other = splits(seed=0), splits(seed=0), splits(seed=1, seeds=9, probes=5)
    assert first == again
    assert first.test == other.test
    assert first.unseen == other.unseen
    assert not {item.question for item in first.seeds} & {item.question for item in other.seeds}
    assert splits(test=50).test == first.test[:50]
    assert splits(test=50).unseen == first.unseen[:15]
    assert len(splits(test=4).unseen) == 8


def test_the_first_test_items_are_these() -> None:
    """Written down, so that a change of the benchmark is seen: scores before and after it do not compare."""
    items = splits().test[:3]
    assert [(item.id, item.steps, item.template, item.answer) for item in items] == [
        ("starter-test3-0000", 1, "two_classes", "25"),
        ("starter-test3-0001", 2, "plants_that_died", "50"),
        ("starter-test3-0002", 3, "three_friends", "2"),
    ]
    assert items[0] == Item.model_validate(FIRST)


def test_asking_for_more_than_there_is_names_the_settings() -> None:
    with pytest.raises(DataError, match=r"no more new problems .* task\.seeds"):
        splits(seeds=200_000, test=1)
    with pytest.raises(DataError, match="leave it out"):
        Starter().splits(recipe.Task(name="starter", data="somewhere"), 0)


def test_work_refuses_what_is_not_whole() -> None:
    with pytest.raises(ValueError, match="7 / 2 is not whole"):
        Work().line("Each gets {}.", 7, "/", 2)
    with pytest.raises(ValueError, match="3 - 5 is negative"):
        Work().line("{} are left.", 3, "-", 5)
    with pytest.raises(ValueError, match="one equation"):
        Work().line("None.", 3, "+", 5)
    with pytest.raises(ValueError, match="at least one step"):
        Work().problem("How many?")


def test_tasks_are_loaded_by_name() -> None:
    assert tasks.NAMES[:2] == ("gsm8k", "starter")
    assert len(set(tasks.NAMES)) == 2 + 2 + 4 + 27
    for name in tasks.NAMES:
        task = tasks.load(name)
        assert task.name == name
        assert task.about
        assert task.data_source
        assert task.licence
    with pytest.raises(UnknownName, match="did you mean gsm8k"):
        tasks.load("gsm8")
