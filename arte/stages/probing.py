"""The probes: of the validation items, the first, or those that tell students apart most (paper, 4.1 and appendix E).

Respondents are models, each asked with 0 to 3 gold examples in front, as in the paper: five students gave it 20.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from arte.generation import Engine, Prompt
from arte.jsonl import RowLog
from arte.preference import irt
from arte.progress import progress
from arte.rows import Item, Row
from arte.stages.evaluate import chats
from arte.tasks.mixture import first_of_each, grouped
from arte.tasks.task import Taught

SHOTS = (0, 1, 2, 3)


class Response(Row):
    """Whether a model, behind so many gold examples, answered an item."""

    respondent: str
    shots: int
    item_id: str
    correct: bool


def discriminating_probes(
    folder: Path,
    validation: Sequence[Item],
    count: int,
    seeds: Sequence[Item],
    task: Taught,
    respondents: Mapping[str, Callable[[], Engine]],
    batch_size: int,
    max_tokens: int,
) -> list[Item]:
    """The `count` items of highest discrimination of each task, in their order. Engines are loaded one at a time.

    Writes responses.jsonl (a killed run goes on after the last whole respondent with its shots) and probes.json: each
    item's discrimination and difficulty, and which were chosen.
    """
    log = RowLog(folder / "responses.jsonl", Response)
    asked = [(name, shots) for name in respondents for shots in SHOTS]
    loaded: tuple[str, Engine] | None = None
    with progress("respondents × items", len(asked) * len(validation)) as told:
        while log.batches_done < len(asked):
            name, shots = asked[log.batches_done]
            if loaded is None or loaded[0] != name:
                loaded = None  # the model before must go first
                loaded = name, respondents[name]()
            shown = first_of_each(seeds, shots)
            answers = _answers(loaded[1], validation, shown, task, batch_size, max_tokens)
            log.append_batch([
                Response(
                    respondent=name,
                    shots=shots,
                    item_id=item.id,
                    correct=one.right(one.strict(text), item.answer),
                )
                for item, text in zip(validation, answers, strict=True)
                for one in (task.of(item),)
            ])  # fmt: skip
            told(len(log.rows))
    right = np.array([row.correct for row in log.rows]).reshape(len(asked), len(validation))
    rows: dict[int, dict[str, object]] = {}
    for its in grouped(range(len(validation)), lambda place: validation[place].task).values():
        fitted = irt.fit(right[:, its])
        chosen = irt.most_discriminating(fitted, right[:, its], count)
        for number, place in enumerate(its):
            rows[place] = {
                "id": validation[place].id,
                "answered": int(right[:, place].sum()),
                "discrimination": float(fitted.discrimination[number]),
                "difficulty": float(fitted.difficulty[number]),
                "chosen": number in chosen,
            }
    items = [rows[place] for place in range(len(validation))]
    (folder / "probes.json").write_text(json.dumps({"respondents": len(asked), "items": items}, indent=2))
    return [item for item, row in zip(validation, items, strict=True) if row["chosen"]]


def _answers(
    engine: Engine, items: Sequence[Item], shots: Sequence[Item], task: Taught, batch_size: int, max_tokens: int
) -> list[str]:
    prompts = [Prompt(engine.render(chat)) for chat in chats({"test": items}, shots, task)]
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place].text))
    texts = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        answers = engine.generate([prompts[place] for place in places], max_tokens=max_tokens, temperature=0.0)
        for place, answer in zip(places, answers, strict=True):
            texts[place] = answer.text
    return texts
