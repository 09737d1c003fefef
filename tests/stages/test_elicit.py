import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from arte.errors import StageError
from arte.generation import Answer, Prompt
from arte.recipe import Elicit, Style
from arte.rows import Item, Question, Rationale, read_rows
from arte.stages.elicit import Drafting, elicit
from arte.tasks import Task
from arte.workspace import Figures, StageFolder
from tests.stages.scripted import QUESTION, ScriptedEngine, Stopped, arithmetic_teacher, problem, to_solve

SEEDS = [
    Item(id=f"seed-{number}", question=f"{word} sells {number + 3} hats?", rationale="", answer=str(number))
    for number, word in enumerate(("Tom", "Una", "Viv", "Wes"))
]
SETTINGS = Elicit(questions=6, seeds_per_prompt=2, questions_per_prompt=1, styles=("steps", "brief"), batch_size=4)
STYLES: tuple[Style | None, ...] = ("steps", "brief")


def work(
    folder: Path,
    engine: ScriptedEngine,
    task: Task,
    settings: Elicit = SETTINGS,
    seed: int = 0,
    *,
    styles: Sequence[Style | None] = STYLES,
    explained: int | None = None,
) -> Figures:
    return elicit(
        StageFolder(folder, False),
        engine,
        task,
        SEEDS,
        [],
        settings,
        styles=styles,
        explained=explained,
        rationale_temperature=1.0,
        seed=seed,
    )


def rows(folder: Path) -> tuple[list[Question], list[Rationale]]:
    return read_rows(folder / "questions.jsonl", Question), read_rows(folder / "rationales.jsonl", Rationale)


def test_drafts_until_enough_questions_are_solved(tmp_path: Path, starter: Task) -> None:
    engine = ScriptedEngine(arithmetic_teacher)
    figures = work(tmp_path, engine, starter)
    questions, rationales = rows(tmp_path)
    accepted = [row for row in questions if row.check.accepted]
    solved = [row.question_id for row in rationales if row.check.accepted]
    rounds = 1 + max(int(row.id[1:].split("-")[0]) for row in questions)

    assert len(questions) == 4 * rounds
    assert len(engine.calls) == 3 * rounds  # the questions, and each of two styles
    assert [row.question_id for row in rationales] == [row.id for row in accepted for _ in STYLES]
    assert [row.style for row in rationales] == ["steps", "brief"] * len(accepted)
    # It stopped as soon as six were solved, and not before.
    assert 6 <= len(set(solved)) < 6 + 4
    assert len({question for question in solved if not question.startswith(f"q{rounds - 1}-")}) < 6
    assert figures.tokens_in == sum(len(prompt.text.split()) for call in engine.calls for prompt in call)
    # The script errs in every way it can: the table shows all of it.
    assert Counter(row.check.reason for row in questions).keys() == {None, "unparsed"}
    assert Counter(row.check.reason for row in rationales).keys() >= {None, "inconsistent"}


def test_what_a_row_holds(tmp_path: Path, starter: Task) -> None:
    engine = ScriptedEngine(arithmetic_teacher)
    work(tmp_path, engine, starter)
    questions, rationales = rows(tmp_path)
    for place, (row, prompt) in enumerate(zip(questions[:4], engine.calls[0], strict=True)):
        assert row.id == f"q0-{place}-0"
        shown = sorted(
            (seed for seed in SEEDS if seed.question in prompt.text), key=lambda s: prompt.text.find(s.question)
        )
        assert len(shown) == 2
        assert json.loads(row.prompt) == starter.question_prompt(shown, 1)  # of the pair, and of generation
        assert prompt.text == engine.render(starter.question_prompt(shown, 1))
    parsed = [row for row in questions if row.check.accepted]
    assert {row.target for row in parsed} == {"7"}
    assert {row.text for row in questions if not row.check.accepted} == {"I would rather talk about the weather."}
    by_id = {row.id: row for row in parsed}
    for rationale in rationales:
        if rationale.check.accepted:
            assert rationale.text.endswith(".")
            assert f"= {rationale.answer} " in rationale.text
            assert rationale.text.split()[0] == by_id[rationale.question_id].text.split()[0]
    assert len(rationales) == 2 * len(parsed)


def test_only_seeds_of_enough_steps_are_shown(tmp_path: Path, starter: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four seeds one has one step, two have two, and of one it is not known."""
    counted = [seed.model_copy(update={"steps": steps}) for seed, steps in zip(SEEDS, (1, 2, 2, None), strict=True)]
    monkeypatch.setitem(globals(), "SEEDS", counted)
    engine = ScriptedEngine(arithmetic_teacher)
    work(tmp_path, engine, starter, SETTINGS.model_copy(update={"least_steps": 2}))
    shown = [seed.id for prompt in engine.calls[0] for seed in counted if seed.question in prompt.text]
    assert set(shown) == {"seed-1", "seed-2", "seed-3"}
    assert len(shown) == 8
    with pytest.raises(StageError, match=r"elicit\.least_steps=3 leaves 1 of 4 seeds.*elicit\.seeds_per_prompt=2"):
        work(tmp_path, engine, starter, SETTINGS.model_copy(update={"least_steps": 3}))


def test_every_draw_has_a_seed_of_its_own(tmp_path: Path, starter: Task) -> None:
    engine = ScriptedEngine(arithmetic_teacher)
    work(tmp_path, engine, starter)
    seeds = [prompt.seed for call in engine.calls for prompt in call]
    assert len(seeds) > 20
    assert len(set(seeds)) == len(seeds)


def test_the_same_seed_gives_the_same_rows(tmp_path: Path, starter: Task) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        (tmp_path / name).mkdir()
        work(tmp_path / name, ScriptedEngine(arithmetic_teacher), starter, seed=seed)
    one, two, three = (rows(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one != three


def test_a_question_is_not_accepted_twice(tmp_path: Path, starter: Task) -> None:
    def repeats_itself(prompt: str, _seed: int) -> str:
        if not to_solve(prompt):
            return " Ada buys 12 kites in Rome and finds 5 more. How many kites does Ada have?\nAnswer: 17"
        return arithmetic_teacher(prompt, 1)

    work(tmp_path, ScriptedEngine(repeats_itself), starter)
    questions, _ = rows(tmp_path)
    # One is new, the rest of the budget (4 drafts for each of 6) repeats it.
    assert Counter(row.check.reason for row in questions) == {None: 1, "duplicate": 23}
    assert {row.check.detail for row in questions[1:]} == {"q0-0-0: similarity 1.00"}


def test_only_the_asked_number_of_a_reply_counts(tmp_path: Path, starter: Task) -> None:
    def talkative(prompt: str, seed: int) -> str:
        if to_solve(prompt):
            return arithmetic_teacher(prompt, 1)
        problems = "\n\n".join(
            f"Problem {number}: {name} buys {seed % 89 + 11} {thing} at sea and finds {number} more.\nAnswer: 7"
            for number, (name, thing) in enumerate((("Ada", "nuts"), ("Lea", "urns"), ("Ivo", "oars")), start=3)
        )
        return problems.removeprefix("Problem 3:")  # behind two seeds

    settings = SETTINGS.model_copy(update={"questions_per_prompt": 2, "attempts": 1.0})
    engine = ScriptedEngine(talkative)
    work(tmp_path, engine, starter, settings)
    questions, _ = rows(tmp_path)
    assert [row.id for row in questions[:4]] == ["q0-0-0", "q0-0-1", "q0-1-0", "q0-1-1"]
    assert len(engine.calls[0]) == 2  # four questions a batch, two a prompt
    assert all("Ivo" not in row.text for row in questions)


def solves_it_at_once(prompt: str, seed: int) -> str:
    """One problem in two comes with a wrong answer of its own, which both styles outvote."""
    if not to_solve(prompt):
        total = sum(int(number) for number in QUESTION.findall(problem(seed))[0][1::2])
        said = total if seed % 2 else total + 1
        return f" {problem(seed)}\nSolution: In all {said} - 0 = {said}.\nAnswer: {said}"
    return arithmetic_teacher(prompt, 1)


def test_nothing_is_drawn_behind_the_last_asked_problem(tmp_path: Path, starter: Task) -> None:
    cut: list[str] = []

    class StoppingEngine(ScriptedEngine):
        """Ends answers at stop strings, as engines do."""

        def generate(self, prompts: Sequence[Prompt], **settings: Any) -> list[Answer]:
            (end,) = settings["stop"]
            cut.extend(answer.text.partition(end)[0] for answer in super().generate(prompts, **settings))
            return [Answer(text, 1, 1, "stop") for text in cut[-len(prompts) :]]

    def goes_on(_prompt: str, seed: int) -> str:
        problems = (f"Problem {number}: {problem(seed + number)}\nAnswer: 7" for number in range(3, 9))
        return "\n\n".join(problems).removeprefix("Problem 3:")  # behind two seeds

    settings = SETTINGS.model_copy(update={"questions_per_prompt": 3, "attempts": 1.0, "questions": 1})
    with pytest.raises(StageError):  # none comes with a solution, and none is asked for
        work(tmp_path, StoppingEngine(goes_on), starter, settings, styles=[])
    assert cut
    assert all("Problem 5:" in text and "Problem 6:" not in text for text in cut)


def test_a_drafted_solution_is_a_rationale_and_a_vote(tmp_path: Path, starter: Task) -> None:
    work(tmp_path, ScriptedEngine(solves_it_at_once), starter)
    questions, rationales = rows(tmp_path)
    accepted = [row for row in questions if row.check.accepted]
    assert len(rationales) == 3 * len(accepted) >= 18
    outcomes: Counter[str | None] = Counter()
    for question in accepted:
        *styled, own = [row for row in rationales if row.question_id == question.id]
        assert [row.style for row in styled] == ["steps", "brief"]
        assert (own.id, own.style, own.text) == (f"{question.id}-r2", "drafted", question.solution)
        assert own.answer == question.target
        assert all(row.check.accepted for row in styled)
        outcomes[own.check.reason] += 1
        assert own.check.accepted == (own.answer == styled[0].answer)
    assert outcomes[None] > 0
    assert outcomes["inconsistent"] > 0


def test_only_so_many_questions_are_explained_in_every_style(tmp_path: Path, starter: Task) -> None:
    """The others keep the solution they were drafted with, over the rounds and in a run that is taken up again."""
    settings = SETTINGS.model_copy(update={"questions": 10})
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    engine = ScriptedEngine(solves_it_at_once)
    work(tmp_path / "whole", engine, starter, settings, explained=5)
    questions, rationales = rows(tmp_path / "whole")
    accepted = [row.id for row in questions if row.check.accepted]
    assert len({name.split("-")[0] for name in accepted}) >= 3  # rounds, of four questions at most
    of_each = Counter(row.question_id for row in rationales)
    assert [of_each[name] for name in accepted] == [3] * 5 + [1] * (len(accepted) - 5)
    own = [row for row in rationales if row.question_id in accepted[5:]]
    assert {(row.style, row.check.reason) for row in own} == {("drafted", None)}
    assert len(own) >= 5
    with pytest.raises(Stopped):
        work(tmp_path / "stopped", ScriptedEngine(solves_it_at_once, fail_after=5), starter, settings, explained=5)
    work(tmp_path / "stopped", ScriptedEngine(solves_it_at_once), starter, settings, explained=5)
    assert rows(tmp_path / "stopped") == (questions, rationales)


def test_without_rationales_the_drafted_solutions_are_all_there_is(tmp_path: Path, starter: Task) -> None:
    engine = ScriptedEngine(solves_it_at_once)
    work(tmp_path, engine, starter, styles=[])
    questions, rationales = rows(tmp_path)
    accepted = [row for row in questions if row.check.accepted]
    assert len(accepted) >= 6
    assert [(row.question_id, row.style, row.text) for row in rationales] == [
        (row.id, "drafted", row.solution) for row in accepted
    ]
    assert not any(to_solve(prompt.text) for call in engine.calls for prompt in call)


class CutEngine(ScriptedEngine):
    """Every list of questions runs into the token limit."""

    def generate(self, prompts: Sequence[Prompt], **settings: Any) -> list[Answer]:
        answers = super().generate(prompts, **settings)
        return [
            answer if to_solve(prompt.text) else answer._replace(finish="length")
            for prompt, answer in zip(prompts, answers, strict=True)
        ]


def test_the_problem_at_the_token_limit_is_left_out(tmp_path: Path, starter: Task) -> None:
    def two_problems(prompt: str, seed: int) -> str:
        if to_solve(prompt):
            return arithmetic_teacher(prompt, 1)
        return f" {problem(seed)}\nAnswer: 7\n\nProblem 4: {problem(seed + 1)}\nAnswer: 1"

    settings = SETTINGS.model_copy(update={"questions_per_prompt": 2})
    work(tmp_path, CutEngine(two_problems), starter, settings)
    questions, _ = rows(tmp_path)
    assert len(questions) >= 6
    assert {row.id.split("-")[-1] for row in questions} == {"0"}
    assert {row.target for row in questions} == {"7"}


def test_the_budget_of_attempts_ends_it(tmp_path: Path, starter: Task) -> None:
    def seldom(prompt: str, seed: int) -> str:
        return arithmetic_teacher(prompt, seed) if seed % 4 == 1 else "Hm."

    settings = SETTINGS.model_copy(update={"questions": 40, "attempts": 0.5})
    work(tmp_path, ScriptedEngine(seldom), starter, settings)
    questions, rationales = rows(tmp_path)
    assert len(questions) == 20  # half a draft for each of 40, in batches of 4
    assert 0 < len({row.question_id for row in rationales if row.check.accepted}) < 20


def test_a_teacher_that_drafts_nothing_is_told_of(tmp_path: Path, starter: Task) -> None:
    with pytest.raises(StageError) as raised:
        work(tmp_path, ScriptedEngine(lambda *_: "The sky is blue."), starter)
    message = str(raised.value)
    assert "the teacher drafted 24 questions (24 unparsed) and 0 rationales (none)" in message
    assert "teacher.name" in message
    assert "elicit.attempts" in message
    assert "'The sky is blue.'" in message


def test_a_teacher_that_solves_nothing_is_told_of(tmp_path: Path, starter: Task) -> None:
    def never_right(prompt: str, seed: int) -> str:
        return "2 + 2 = 5\n#### 5" if to_solve(prompt) else arithmetic_teacher(prompt, seed)

    with pytest.raises(StageError) as raised:
        work(tmp_path, ScriptedEngine(never_right), starter)
    questions, rationales = rows(tmp_path)
    fallen = Counter(row.check.reason or "accepted" for row in questions)
    assert len(questions) == 24
    for reason, count in fallen.items():
        assert f"{count} {reason}" in str(raised.value)
    assert f"{len(rationales)} rationales ({len(rationales)} inconsistent)" in str(raised.value)


def repeating_teacher(prompt: str, seed: int) -> str:
    """Knows few problems, so that it drafts in a later round what was accepted in an earlier one."""
    return arithmetic_teacher(prompt, seed if to_solve(prompt) else seed % 13)


def test_taken_up_after_any_call_it_ends_as_if_never_stopped(tmp_path: Path, starter: Task) -> None:
    whole, engine = tmp_path / "whole", ScriptedEngine(repeating_teacher)
    whole.mkdir()
    figures = work(whole, engine, starter)
    expected = rows(whole)
    assert len(engine.calls) >= 9
    repeated = [row for row in expected[0] if row.check.reason == "duplicate"]
    assert any(row.id.split("-")[0] != row.check.detail.split("-")[0] for row in repeated)
    for calls in range(len(engine.calls)):
        folder = tmp_path / f"stopped-{calls}"
        folder.mkdir()
        stopped, again = ScriptedEngine(repeating_teacher, fail_after=calls), ScriptedEngine(repeating_teacher)
        with pytest.raises(Stopped):
            work(folder, stopped, starter)
        assert work(folder, again, starter) == figures
        assert rows(folder) == expected
        # Less than a round is done twice: what was committed is not asked for again.
        assert len(stopped.calls) + len(again.calls) < len(engine.calls) + len(STYLES)
        assert again.calls == engine.calls[len(engine.calls) - len(again.calls) :]


def test_a_finished_folder_is_left_as_it_is(tmp_path: Path, starter: Task) -> None:
    work(tmp_path, ScriptedEngine(arithmetic_teacher), starter)
    before = rows(tmp_path)
    engine = ScriptedEngine(arithmetic_teacher, fail_after=0)
    work(tmp_path, engine, starter)
    assert rows(tmp_path) == before


def test_how_many_are_solved_is_told_after_each_round(tmp_path: Path, starter: Task) -> None:
    engine = ScriptedEngine(arithmetic_teacher)
    drafting = Drafting(
        StageFolder(tmp_path, False),
        engine,
        starter,
        SEEDS,
        [],
        SETTINGS,
        styles=STYLES,
        explained=None,
        rationale_temperature=1.0,
        seed=0,
    )
    told: list[int] = []
    drafting.run(told.append)
    assert len(told) == len(engine.calls) // 3
    assert told == sorted(told)
    assert told[-1] == drafting.solved >= 6 > told[-2]
