"""Items with a few known answers, judged by which of them is the likeliest reply, through lm-eval's `multiple_choice`.

A student too weak to write an answer where it should stand may still prefer the right one. The prompt is the one that
the student answers in its own words; an option is the whole reply that gives it, without a solution. `acc` takes the
likeliest, `acc_norm` the likeliest a character, which helps long options; where all are equally long the two agree.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from arte.rows import Item
from arte.tasks.task import Taught

Scoring = Callable[[list[tuple[str, str]]], list[tuple[float, bool]]]
"""(Rendered prompt, reply) in; out the log-probability of each reply (nats), and whether greedy decoding gives it."""


class Chosen(NamedTuple):
    """The options of an item with their log-probabilities, the likeliest, and the likeliest a character."""

    logprobs: dict[str, float]
    acc: str
    acc_norm: str


class Asked(NamedTuple):
    """An item that is judged so: its place among all, its rendered prompt, and its options."""

    place: int
    prompt: str
    options: list[str]
    replies: list[str]
    """The options as the student would reply."""


def asked(task: Taught, items: Sequence[Item], prompts: Sequence[str]) -> list[Asked]:
    """The items that have options, and the right answer among them."""
    found = []
    for place, (item, text) in enumerate(zip(items, prompts, strict=True)):
        own = task.of(item)
        options = own.options(item.question)
        if len(options) > 1 and item.answer in options:
            found.append(Asked(place, text, options, [own.completion("", option) for option in options]))
    return found


def scored(those: Sequence[Asked]) -> list[tuple[str, str]]:
    """What is scored: for each item in turn, its prompt with each of its options as a reply."""
    return [(each.prompt, reply) for each in those for reply in each.replies]


def choose(
    task: Taught, items: Sequence[Item], those: Sequence[Asked], score: Scoring
) -> tuple[dict[int, Chosen], dict[str, Any]]:
    """What was chosen of each item, by its place, and lm-eval's results."""
    from datasets import Dataset
    from lm_eval import evaluator
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask

    class Student(LM):  # type: ignore[misc]
        """The student as lm-eval sees it: it says how likely replies are, nothing else."""

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return score([request.args for request in requests])

        def generate_until(self, requests: list[Any]) -> list[str]:
            raise RuntimeError("this task asks for no answers")

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise RuntimeError("this task asks for no whole texts")

    documents = [
        {
            "number": number,
            "text": each.prompt,
            "replies": each.replies,
            "gold": each.options.index(items[each.place].answer),
        }
        for number, each in enumerate(those)
    ]
    name = f"{task.name}-options"
    config = {
        "task": name,
        "custom_dataset": lambda **_: {"test": Dataset.from_list(documents)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "text",
        "doc_to_choice": "replies",
        "doc_to_target": "gold",
        "target_delimiter": "",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
        "num_fewshot": 0,
        "metadata": {"version": 1},
    }
    results = evaluator.evaluate(Student(), {name: ConfigurableTask(config=config)}, bootstrap_iters=0)
    assert results is not None
    chosen = {}
    for logged in results["samples"][name]:
        each, written = those[logged["doc"]["number"]], logged["doc"]["replies"]
        values = [float(response[0][0]) for response in logged["resps"]]
        by_length = [value / len(reply) for value, reply in zip(values, written, strict=True)]
        chosen[each.place] = Chosen(
            logprobs=dict(zip(each.options, values, strict=True)),
            acc=each.options[values.index(max(values))],
            acc_norm=each.options[by_length.index(max(by_length))],
        )
    return chosen, dict(results)
