import math

import pytest
import torch

from arte.preference.likelihood import RANK_CAP, Likelihood
from arte.preference.trained import trained_row
from arte.rows import Example
from arte.tasks import Task
from tests.preference.conftest import Student

EXAMPLES = [
    Example(id="a", question="Bela packs 4 boxes. How many?", rationale="Each holds 6: 4 * 6 = 24 cups.", answer="24"),
    Example(id="b", question="How many?", rationale="3 + 2 = 5 cats.", answer="5"),
]


def test_a_row_is_the_chat_that_the_student_is_trained_on(preferring_student: Student, starter: Task) -> None:
    tokenizer = preferring_student.tokenizer
    row = trained_row(tokenizer, starter, EXAMPLES[1])
    assert tokenizer.decode(row.ids[: row.prompt_tokens]) == (
        "<|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(row.ids[row.prompt_tokens :]) == "3 + 2 = 5 cats.\n#### 5<|im_end|>\n"


@torch.inference_mode()
def obvious(student: Student, task: Task, example: Example) -> tuple[float, float]:
    """Token by token, each from a whole pass of its own: mean log-probability; sum of ranks over sum of surprisals."""
    row = trained_row(student.tokenizer, task, example)
    logprobs, ranks = [], []
    for place in range(row.prompt_tokens, len(row.ids)):
        logits = student.model(input_ids=torch.tensor([row.ids[:place]]), use_cache=False).logits[0, -1].double()
        said = float(logits[row.ids[place]])
        logprobs.append(said - math.log(sum(math.exp(value) for value in logits.tolist())))
        ranks.append(min(100, 1 + sum(value > said for value in logits.tolist())))
    assert max(ranks) == RANK_CAP > min(ranks)
    return sum(logprobs) / len(logprobs), sum(ranks) / -sum(logprobs)


@pytest.mark.parametrize("example", EXAMPLES, ids=["long", "short"])
def test_values_are_those_of_the_obvious_implementation(
    preferring_student: Student, starter: Task, example: Example
) -> None:
    model, tokenizer, _ = preferring_student
    likelihood, ratio = obvious(preferring_student, starter, example)
    assert Likelihood(model, tokenizer, starter, "likelihood").values(example) == pytest.approx([likelihood], abs=1e-4)
    assert Likelihood(model, tokenizer, starter, "rank_surprisal").values(example) == pytest.approx([-ratio], rel=1e-4)


def test_no_draft_is_worth_nothing(preferring_student: Student, starter: Task) -> None:
    scorer = Likelihood(preferring_student.model, preferring_student.tokenizer, starter, "likelihood")
    assert scorer.values(None) == [0.0]
    assert len(scorer.columns) == 1
