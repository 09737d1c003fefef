import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from arte.recipe import Evaluate
from arte.rows import Item, read_rows
from arte.stages.answering import Answering
from arte.stages.evaluate import Sample, Slice, chats, evaluate
from arte.tasks import Task
from tests.stages.scripted import ScriptedEngine

ENGINE = ScriptedEngine(lambda *_: "")
SHOTS = [
    Item(id="seed-0", question="1 + 1?", rationale="1 + 1 = 2", answer="2"),
    Item(id="seed-1", question="2 + 2?", rationale="2 + 2 = 4", answer="4"),
    Item(id="seed-2", question="3 + 3?", rationale="3 + 3 = 6", answer="6"),
]
SLICES: dict[Slice, Sequence[Item]] = {
    "test": [
        Item(id="t0", question="How many are there, in all of the {{ boxes }}?", rationale="r", answer="12", steps=2),
        Item(id="t1", question="How many?", rationale="r", answer="1200", steps=1),
        Item(id="t2", question="How many hats?", rationale="r", answer="3"),
    ],
    "unseen": [Item(id="u0", question="Which?", rationale="r", answer="5", steps=3)],
}
REPLIES = {
    "How many are there, in all of the {{ boxes }}?": "3 * 4 = 12\n#### 12",  # right by both
    "How many?": "That makes 1,200.",  # flexible only: there is no answer line
    "How many hats?": "2 + 1 = 3\n#### 3 hats, and 7 caps",  # strict only: the last number is another
    "Which?": "I say 5.",  # flexible only
}


def reply(prompts: list[str]) -> list[str]:
    assert len(prompts) == 4
    return [next(said for question, said in REPLIES.items() if prompt.endswith(f"> {question}")) for prompt in prompts]


def run(folder: Path, task: Task, shots: int = 0) -> list[Sample]:
    asked = [ENGINE.render(chat) for chat in chats(SLICES, SHOTS[:shots], task)]
    return evaluate(folder, SLICES, asked, task, reply, Evaluate())


def test_samples_by_hand(tmp_path: Path, starter: Task) -> None:
    samples = run(tmp_path / "arm", starter)
    fields = [
        (s.id, s.slice, s.steps, s.gold, s.strict, s.flexible, s.strict_correct, s.flexible_correct) for s in samples
    ]
    assert fields == [
        ("t0", "test", 2, "12", "12", "12", True, True),
        ("t1", "test", 1, "1200", None, "1200", False, True),
        ("t2", "test", None, "3", "3", "7", True, False),
        ("u0", "unseen", 3, "5", None, "5", False, True),
    ]
    assert [sample.text for sample in samples] == list(REPLIES.values())
    assert read_rows(tmp_path / "arm" / "samples.jsonl", Sample) == samples


def test_results_are_lm_evals_and_strict_and_flexible_are_counted_apart(tmp_path: Path, starter: Task) -> None:
    run(tmp_path / "arm", starter)
    results = json.loads((tmp_path / "arm" / "results.json").read_text(encoding="utf-8"))
    assert results["results"]["starter"]["strict-match,none"] == 0.5
    assert results["results"]["starter"]["flexible-extract,none"] == 0.75
    assert results["n-samples"]["starter"] == {"original": 4, "effective": 4}
    assert results["higher_is_better"]["starter"] == {"strict-match": True, "flexible-extract": True}


@pytest.mark.parametrize("shots", [0, 2])
def test_shots_stand_in_front_as_earlier_turns(tmp_path: Path, starter: Task, shots: int) -> None:
    asked: list[str] = []

    def answer(prompts: list[str]) -> list[str]:
        asked.extend(prompts)
        return reply(prompts)

    rendered = [ENGINE.render(chat) for chat in chats(SLICES, SHOTS[:shots], starter)]
    evaluate(tmp_path / "arm", SLICES, rendered, starter, answer, Evaluate())
    shown = [
        "<user> 1 + 1?\n<assistant> 1 + 1 = 2\n#### 2\n",
        "<user> 2 + 2?\n<assistant> 2 + 2 = 4\n#### 4\n",
    ]
    assert sorted(asked) == sorted("".join(shown[:shots]) + f"<user> {question}" for question in REPLIES)


def test_a_prompt_reaches_the_student_to_the_letter(tmp_path: Path, starter: Task) -> None:
    """White space at either end of what a chat template gives, and words that mean something to lm-eval."""
    asked: list[str] = []

    def render(messages: list[dict[str, str]]) -> str:
        return f" \n{{{{gold}}}} {messages[-1]['content']}\n<|im_start|>assistant\n"

    def answer(prompts: list[str]) -> list[str]:
        asked.extend(prompts)
        return [" #### 12\n "] * len(prompts)

    rendered = [render(chat) for chat in chats(SLICES, [], starter)]
    samples = evaluate(tmp_path / "arm", SLICES, rendered, starter, answer, Evaluate())
    assert sorted(asked) == sorted(f" \n{{{{gold}}}} {question}\n<|im_start|>assistant\n" for question in REPLIES)
    assert [sample.text for sample in samples] == [" #### 12\n "] * 4
    assert [sample.strict_correct for sample in samples] == [True, False, False, False]


def test_samples_keep_the_order_whatever_the_batches(tmp_path: Path, starter: Task) -> None:
    items = [
        Item(id=f"t{n}", question="x" * (40 - 7 * (n % 5)) + str(n), rationale="r", answer=str(n)) for n in range(9)
    ]
    engine = ScriptedEngine(lambda prompt, _: f"#### {prompt[-1]}")
    answering = Answering(engine, tmp_path / "replies.jsonl", 2, 8)
    rendered = [engine.render(chat) for chat in chats({"test": items}, [], starter)]
    samples = evaluate(tmp_path / "arm", {"test": items}, rendered, starter, answering, Evaluate())
    assert [sample.id for sample in samples] == [item.id for item in items]
    assert [sample.strict for sample in samples] == [item.answer for item in items]
    assert len(engine.calls) == 5
