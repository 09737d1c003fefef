"""Examples and pairs in TRL's conversational forms, as trainings read them and `arte data` gives them away."""

import json
from collections.abc import Sequence
from typing import Any

from arte.rows import Example, Pair
from arte.tasks.task import Taught


def conversations(examples: Sequence[Example], task: Taught) -> list[dict[str, Any]]:
    """For SFT: prompt and completion."""
    return [
        {
            "prompt": one.student_prompt(example.question),
            "completion": [{"role": "assistant", "content": one.completion(example.rationale, example.answer)}],
        }
        for example in examples
        for one in (task.of(example),)
    ]


def preferences(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """For DPO: prompt, chosen and rejected."""
    return [
        {
            "prompt": json.loads(pair.prompt),
            "chosen": [{"role": "assistant", "content": pair.chosen}],
            "rejected": [{"role": "assistant", "content": pair.rejected}],
        }
        for pair in pairs
    ]
