"""Items with options, judged by the likeliest reply: which it is, by hand and by the torch model's own logits."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from arte import tasks
from arte.models import ModelFolder
from arte.recipe import Evaluate
from arte.rows import Item
from arte.stages.answering import Scoring
from arte.stages.evaluate import Sample, Slice, chats, evaluate
from arte.stages.options import asked
from arte.tasks import Task
from tests.stages.conftest import load
from tests.stages.scripted import ScriptedEngine

ENGINE = ScriptedEngine(lambda *_: "")
STARS = Item(id="t0", question="Which is a star?\n(A) Moon\n(B) Sun\n(C) Mars", rationale="", answer="B")
COLD = Item(id="t1", question="What is cold?\n(A) Ice\n(B) Fire", rationale="", answer="A")
YAML = """\
about: Words to their kind.
things: words
fields: {input: word, answer: kind}
answer: {kind: choice, choices: [noun, preposition]}
"""


def run(
    folder: Path, task: Task, items: Sequence[Item], values: dict[tuple[str, str], float]
) -> tuple[list[Sample], list[str], list[tuple[str, str]]]:
    """The samples, the prompts that were to be answered and what was to be scored; `values` by the end of a prompt's
    question and the reply."""
    answered: list[str] = []
    scored: list[tuple[str, str]] = []

    def answer(prompts: list[str]) -> list[str]:
        answered.extend(prompts)
        return ["(A) it is"] * len(prompts)

    def score(pairs: list[tuple[str, str]]) -> list[tuple[float, bool]]:
        scored.extend(pairs)
        return [(value, False) for pair in pairs for key, value in values.items() if pair[0].endswith(key[0])
                and pair[1] == key[1]]  # fmt: skip

    slices: dict[Slice, Sequence[Item]] = {"test": items}
    prompts = [ENGINE.render(chat) for chat in chats(slices, [], task)]
    return evaluate(folder, slices, prompts, task, answer, Evaluate(), score), answered, scored


def test_the_likeliest_option_is_chosen_behind_the_prompt_that_is_answered(tmp_path: Path) -> None:
    values = {
        ("Mars", "#### A"): -3.0, ("Mars", "#### B"): -2.0, ("Mars", "#### C"): -4.0,
        ("Fire", "#### A"): -2.0, ("Fire", "#### B"): -1.5,
    }  # fmt: skip
    task = tasks.load("arc-easy")
    samples, answered, scored = run(tmp_path, task, [STARS, COLD], values)
    assert scored == [(answered[0], f"#### {letter}") for letter in "ABC"] + [
        (answered[1], f"#### {letter}") for letter in "AB"
    ]
    assert answered[0] == f"<user> Choose the option that answers the question best.\n\n{STARS.question}"
    found = [(s.logprobs, s.chosen, s.chosen_norm, s.chosen_correct, s.chosen_norm_correct) for s in samples]
    assert found == [
        ({"A": -3.0, "B": -2.0, "C": -4.0}, "B", "B", True, True),
        ({"A": -2.0, "B": -1.5}, "B", "B", False, False),
    ]
    assert [sample.strict for sample in samples] == [None, None]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["results"]["arc-easy-options"]["acc,none"] == 0.5
    assert results["results"]["arc-easy"]["strict-match,none"] == 0.0
    assert results["n-samples"]["arc-easy-options"] == {"original": 2, "effective": 2}


def test_a_long_label_is_helped_by_its_length(tmp_path: Path) -> None:
    """-8 of the 4 characters of noun is -2 each, -12 of the 11 of preposition is -1.1 each."""
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "task.yaml").write_text(YAML)
    items = [Item(id="t0", question="under", rationale="", answer="preposition")]
    values = {("under", "noun"): -8.0, ("under", "preposition"): -12.0}
    [sample], _, _ = run(tmp_path / "out", tasks.load(str(folder)), items, values)
    assert (sample.chosen, sample.chosen_norm) == ("noun", "preposition")
    assert (sample.chosen_correct, sample.chosen_norm_correct) == (False, True)
    results = json.loads((tmp_path / "out" / "results.json").read_text())["results"]["words-options"]
    assert (results["acc,none"], results["acc_norm,none"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "question", "gold", "options"),
    [
        ("bbh/snarks", "Which is so?\nOptions:\n(A) one\n(B) two", "(B)", ["(A)", "(B)"]),
        ("bbh/navigate", "Turn around. Options:\n- Yes\n- No", "No", ["Yes", "No"]),
        ("bbh/movie_recommendation", "Which?\nOptions:\n(A) Alien\n(B) Up", "monsters, inc", None),
        ("bbh/object_counting", "How many?", "3", None),
        ("commonsense-qa", "(A) stands for what?\n(A) x\n(B) y", "A", ["A", "B"]),
        ("starter", "How many?", "3", None),
    ],
)
def test_which_items_have_options(name: str, question: str, gold: str, options: list[str] | None) -> None:
    item = Item(id="t", question=question, rationale="", answer=gold)
    found = asked(tasks.load(name), [item], ["prompt"])
    assert [each.options for each in found] == ([] if options is None else [options])


def test_log_probabilities_are_the_torch_models_and_survive_a_kill(tiny_student: ModelFolder, tmp_path: Path) -> None:
    student = load(tiny_student)
    task = tasks.load("arc-easy")
    prompts = [student.engine.render(task.student_prompt(item.question)) for item in (STARS, COLD)]
    pairs = [(prompts[0], "#### A"), (prompts[0], "#### B"), (prompts[0], "#### C"), (prompts[1], "#### A")]
    log = tmp_path / "options.jsonl"
    whole = Scoring(student.engine, log, 3)
    found = whole(pairs)
    tokens = 0
    for (prompt, reply), (logprob, greedy) in zip(pairs, found, strict=True):
        start, given = student.ids(prompt), student.ids(reply)
        with torch.inference_mode():
            logits = student.model(input_ids=torch.tensor([start + given]), use_cache=False).logits[0].double()
        wanted = [torch.log_softmax(logits[len(start) - 1 + n], dim=-1)[token] for n, token in enumerate(given)]
        assert logprob == pytest.approx(float(sum(wanted)), abs=1e-4)
        likeliest = [int(logits[len(start) - 1 + n].argmax()) for n in range(len(given))]
        assert greedy == (likeliest == given)
        tokens += len(start) + len(given)
    assert whole.tokens_in == tokens
    passes = student.count_passes()
    assert Scoring(student.engine, log, 3)(pairs) == found
    assert passes == []


def test_greedy_is_what_greedy_decoding_gives(tiny_student: ModelFolder, tmp_path: Path) -> None:
    student = load(tiny_student)
    prompt = student.ids("Ada has")
    given = list(prompt)
    for _ in range(4):
        with torch.inference_mode():
            given.append(int(student.model(input_ids=torch.tensor([given]), use_cache=False).logits[0, -1].argmax()))
    made = given[len(prompt) :]
    other = [*made[:3], (made[3] + 1) % 536]
    found = Scoring(student.engine, tmp_path / "log.jsonl", 8)([(prompt, made), (prompt, other)])
    assert [greedy for _, greedy in found] == [True, False]
    assert found[0][0] > found[1][0]
