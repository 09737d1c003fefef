"""What a plan says of memory, against what runs of the starter models took."""

import pytest

from arte.config import load_recipe
from arte.plan import memory_bytes, parameters

MEASURED = 7.2e9
"""Peak of starter runs, in align (LOG.md)."""


def _starter(*overrides: str) -> int:
    planned = memory_bytes(load_recipe("gsm8k", scale="starter", overrides=list(overrides)))
    assert planned is not None
    return planned


def test_the_starter_scale_needs_what_its_alignment_holds() -> None:
    """A pair: two sides of an instruction (60 tokens), three seeds (100) and five drafts (80), 1,520 tokens in all, of
    140 bytes each over the root of the parameters; weights in bfloat16; and a GiB of libraries."""
    teacher = parameters(load_recipe("gsm8k", scale="starter").teacher)
    assert teacher is not None
    assert 4.9e8 < teacher < 6.4e8
    held = 1520 * 140 * teacher**0.5
    assert _starter() == pytest.approx(2 * teacher + held + 2**30, abs=2)
    assert _starter() == pytest.approx(MEASURED, rel=0.1)
    assert _starter("align.micro_batch_size=2") - _starter() == pytest.approx(held, abs=2)
    assert _starter() - _starter("align.gradient_checkpointing=true") == pytest.approx(held / 2, abs=2)


@pytest.mark.parametrize(
    ("how", "weight"),
    [
        (["student.dtype=float32"], 4),
        (["student.dtype=bfloat16"], 2),
        (["teacher.engine=openai", "teacher.server.url=http://127.0.0.1:9/v1"], 0),
    ],
)
def test_a_run_that_aligns_nothing_needs_what_drafting_takes(how: list[str], weight: int) -> None:
    """Weights as they are drafted with, and half of that besides; of a teacher on a server nothing, so that the
    student's training needs most: 6 bytes a weight with LoRA, and the activations of its batch, here of a token."""
    recipe = load_recipe("gsm8k", scale="starter")
    teacher, student = parameters(recipe.teacher), parameters(recipe.student)
    assert teacher is not None
    assert student is not None
    training = 6 * student + 140 * student**0.5
    alone = ["align.skip=true", "teacher.drafts_in=auto", "distill.method=lora", "distill.batch_tokens=1"]
    assert _starter(*alone, *how) == pytest.approx(max(1.5 * weight * teacher, training) + 2**30, abs=2)
    assert (1.5 * weight * teacher > training) == (weight > 0)
