import math

import pytest
import torch

from arte.generation import Continuation, Prompt
from arte.generation.transformers import TransformersEngine
from arte.preference.icl import IclAccuracy, IclLogprob, one_shot
from arte.rows import Example, Item
from arte.tasks import Splits, Task
from arte.tasks.starter import Starter
from tests.preference.conftest import Student

EXAMPLE = Example(
    id="q0-0-0-r0",
    question="Bela packs 4 boxes with 6 cups each. How many cups is that?",
    rationale="Each box holds 6 cups: 4 * 6 = 24 cups.",
    answer="24",
)
ITEM = Item(id="probe-0", question="Ada has 3 cats and buys 2. How many cats?", rationale="3 + 2 = 5 cats.", answer="5")


def test_one_shot_spelled_out(starter: Task) -> None:
    assert one_shot(starter, EXAMPLE, ITEM) == [
        {"role": "user", "content": "Bela packs 4 boxes with 6 cups each. How many cups is that?"},
        {"role": "assistant", "content": "Each box holds 6 cups: 4 * 6 = 24 cups.\n#### 24"},
        {"role": "user", "content": "Ada has 3 cats and buys 2. How many cats?"},
    ]
    assert one_shot(starter, None, ITEM) == [{"role": "user", "content": "Ada has 3 cats and buys 2. How many cats?"}]


@torch.inference_mode()
def obvious_logprob(student: Student, task: Task, example: Example | None, probe: Item) -> float:
    """One probe, one whole forward pass, no cache: the mean over the gold tokens of log p(token | all before it)."""
    prompt = student.tokenizer(student.engine.render(one_shot(task, example, probe)), add_special_tokens=False)
    gold = student.tokenizer(f"{probe.rationale}\n#### {probe.answer}", add_special_tokens=False)["input_ids"]
    ids = prompt["input_ids"] + gold
    logits = student.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()
    total = 0.0
    for place in range(len(prompt["input_ids"]), len(ids)):
        before = logits[place - 1]
        total += before[ids[place]].item() - math.log(before.exp().sum().item())
    return total / len(gold)


@pytest.mark.parametrize("example", [EXAMPLE, None], ids=["one-shot", "zero-shot"])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_logprob_is_that_of_the_obvious_implementation(
    preferring_student: Student, starter: Task, splits: Splits, example: Example | None, batch: int
) -> None:
    model, tokenizer, _ = preferring_student
    [values] = IclLogprob(TransformersEngine(model, tokenizer, batch), starter, splits.probes).table([example])
    obvious = [obvious_logprob(preferring_student, starter, example, probe) for probe in splits.probes]
    assert len(values) == len(splits.probes) == 7
    assert values == pytest.approx(obvious, abs=1e-4)
    assert len({round(value, 2) for value in obvious}) > 1  # a mix-up of the probes would be seen
    assert max(obvious) < 0


def test_logprob_of_one_probe_alone(preferring_student: Student, starter: Task, splits: Splits) -> None:
    """With one row, all of it is its own common start; the token before the solution must stay outside."""
    [values] = IclLogprob(preferring_student.engine, starter, splits.probes[:1]).table([EXAMPLE])
    assert values == pytest.approx([obvious_logprob(preferring_student, starter, EXAMPLE, splits.probes[0])], abs=1e-4)


def test_logprob_where_prompts_are_alike_and_solutions_differ(preferring_student: Student, starter: Task) -> None:
    """Two golds of one question share their first tokens too: the common start must not reach into them."""
    probes = [ITEM, ITEM.model_copy(update={"rationale": "3 + 2 = 5 cats, as Ada buys 2 of them."})]
    model, tokenizer, _ = preferring_student
    [values] = IclLogprob(TransformersEngine(model, tokenizer, 2), starter, probes).table([EXAMPLE])
    obvious = [obvious_logprob(preferring_student, starter, EXAMPLE, probe) for probe in probes]
    assert values == pytest.approx(obvious, abs=1e-4)


def test_several_examples_and_places_at_once(preferring_student: Student, starter: Task, splits: Splits) -> None:
    scorer = IclLogprob(preferring_student.engine, starter, splits.probes)
    other = EXAMPLE.model_copy(update={"id": "other", "rationale": "So we count.", "answer": "7"})
    found = scorer.table([EXAMPLE, other], [5, 0])
    assert len(found) == 2
    for example, row in zip((EXAMPLE, other), found, strict=True):
        obvious = [obvious_logprob(preferring_student, starter, example, splits.probes[place]) for place in (5, 0)]
        assert row == pytest.approx(obvious, abs=1e-4)


def test_each_token_of_a_given_text_has_its_logprob(preferring_student: Student) -> None:
    engine, texts = preferring_student.engine, ["3 + 2 = 5", "7", "3 + 2 = 6 cats"]
    found = engine.logprobs([Continuation("Ada has 3 cats.", text) for text in texts])
    assert [len(scored.logprobs) for scored in found] == [len(engine.ids(text)) for text in texts]
    start = engine.ids("Ada has 3 cats.")
    for text, scored in zip(texts, found, strict=True):
        ids = start + engine.ids(text)
        with torch.inference_mode():
            logits = preferring_student.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()
        wanted = [
            float(torch.log_softmax(logits[place - 1], dim=-1)[ids[place]]) for place in range(len(start), len(ids))
        ]
        assert scored.logprobs == pytest.approx(wanted, abs=1e-4)
        assert scored.tokens_in == len(ids)


def test_the_example_matters(preferring_student: Student, starter: Task, splits: Splits) -> None:
    scorer = IclLogprob(preferring_student.engine, starter, splits.probes)
    other = EXAMPLE.model_copy(update={"rationale": "So we count.", "answer": "7"})
    with_example, with_other, without = scorer.table([EXAMPLE, other, None])
    assert [with_example] == scorer.table([EXAMPLE])
    for one, two in ((with_example, with_other), (with_example, without)):
        assert all(abs(a - b) > 1e-4 for a, b in zip(one, two, strict=True))


class WholeReply(Starter):
    """The starter task, but a reply is all answer: a student of random weights can be right about it."""

    @staticmethod
    def strict(text: str) -> str | None:
        return text or None


@pytest.mark.parametrize("example", [EXAMPLE, None], ids=["one-shot", "zero-shot"])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_accuracy_is_that_of_asking_one_by_one(
    preferring_student: Student, splits: Splits, example: Example | None, batch: int
) -> None:
    engine, task = preferring_student.engine, WholeReply()
    probes = []
    for number, probe in enumerate(splits.probes):
        prompt = Prompt(engine.render(one_shot(task, example, probe)))
        said = engine.generate([prompt], max_tokens=12, temperature=0.0)[0].text
        probes.append(probe.model_copy(update={"answer": said if number % 3 == 0 else said[:-1]}))
    rows = IclAccuracy(engine, task, probes, batch, max_tokens=12).table([example])
    assert rows == [[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]]


def test_accuracy_of_drafts_together_is_that_of_each_alone(preferring_student: Student, splits: Splits) -> None:
    engine, task = preferring_student.engine, WholeReply()
    longer = EXAMPLE.model_copy(
        update={"rationale": "So we count, one after another, all that there are.", "answer": "7"}
    )
    examples = [EXAMPLE, None, longer]
    probes = []
    for number, probe in enumerate(splits.probes):  # right behind one example each
        prompt = Prompt(engine.render(one_shot(task, examples[number % 3], probe)))
        said = engine.generate([prompt], max_tokens=12, temperature=0.0)[0].text
        probes.append(probe.model_copy(update={"answer": said}))
    scorer = IclAccuracy(engine, task, probes, 4, max_tokens=12)
    alone = [row for example in examples for row in scorer.table([example])]
    assert scorer.table(examples) == alone
    assert [[row[place] for place in range(number, 7, 3)] for number, row in enumerate(alone)] == [
        [1.0] * 3,
        [1.0] * 2,
        [1.0] * 2,
    ]
    assert sum(map(sum, alone)) < 21
    assert scorer.table(examples, [5, 2]) == [[row[5], row[2]] for row in alone]


def test_a_reply_that_holds_no_answer_is_wrong(preferring_student: Student, starter: Task, splits: Splits) -> None:
    rows = IclAccuracy(preferring_student.engine, starter, splits.probes, 4, max_tokens=6).table([None])
    assert rows == [[0.0] * 7]
