import json
from pathlib import Path

import numpy as np
import pytest

from arte.generation import Answer, Message, Prompt
from arte.preference import irt
from arte.rows import Item, read_rows
from arte.stages.probing import SHOTS, Response, discriminating_probes
from arte.tasks import Task
from arte.tasks.mixture import Mixture
from arte.tasks.starter import Starter
from tests.stages.scripted import Stopped

ITEMS = [Item(id=f"v{number}", question=f"Item {number}?", rationale="r", answer=str(number)) for number in range(6)]
SEEDS = [Item(id=f"s{number}", question=f"Seed {number}?", rationale="r", answer="1") for number in range(4)]
KNOWN = {
    # Items 0 and 1 rise with ability, 2 is answered by all, 3 by none, 4 and 5 have nothing to do with it.
    ("weak", 0): "24", ("weak", 1): "25", ("weak", 2): "0245", ("weak", 3): "02",
    ("able", 0): "0124", ("able", 1): "0125", ("able", 2): "012", ("able", 3): "01245",
}  # fmt: skip


class Scripted:
    """Answers what KNOWN says that the model knows behind so many gold examples."""

    def __init__(self, name: str, fail_at: int | None = None) -> None:
        self.name, self.fail_at = name, fail_at
        self.batches: list[int] = []
        self.shots: list[int] = []

    def render(self, messages: list[Message]) -> str:
        shots = (len(messages) - 1) // 2
        assert [message["content"] for message in messages[:-1:2]] == [f"Seed {n}?" for n in range(shots)]
        return f"{shots} {messages[-1]['content'][5]}"

    def generate(self, prompts: list[Prompt], *, max_tokens: int, temperature: float) -> list[Answer]:
        assert (max_tokens, temperature) == (9, 0.0)
        shots, _ = prompts[0].text.split()
        if int(shots) == self.fail_at:
            raise Stopped
        self.batches.append(len(prompts))
        self.shots.append(int(shots))
        told = KNOWN[self.name, int(shots)]
        numbers = [prompt.text.split()[1] for prompt in prompts]
        return [Answer(f"#### {number if number in told else 'none'}", 1, 1, "stop") for number in numbers]


def probes(folder: Path, task: Task, weak: Scripted, able: Scripted, count: int = 2) -> list[Item]:
    engines = {"weak": lambda: weak, "able": lambda: able}
    return discriminating_probes(folder, ITEMS, count, SEEDS, task, engines, 4, 9)  # type: ignore[arg-type]


def test_those_that_tell_respondents_apart_are_chosen(tmp_path: Path, starter: Task) -> None:
    weak, able = Scripted("weak"), Scripted("able")
    assert [item.id for item in probes(tmp_path, starter, weak, able)] == ["v0", "v1"]
    assert (weak.batches, weak.shots) == ([4, 2] * 4, [0, 0, 1, 1, 2, 2, 3, 3])
    rows = read_rows(tmp_path / "responses.jsonl", Response)
    assert len(rows) == 2 * len(SHOTS) * len(ITEMS)
    right = {(row.respondent, row.shots, row.item_id) for row in rows if row.correct}
    assert right == {(name, shots, f"v{number}") for (name, shots), told in KNOWN.items() for number in told}
    written = json.loads((tmp_path / "probes.json").read_text(encoding="utf-8"))
    table = np.array([[str(n) in KNOWN[who, shots] for n in range(6)] for who in ("weak", "able") for shots in SHOTS])
    fitted = irt.fit(table)
    assert written["respondents"] == 8
    assert [row["discrimination"] for row in written["items"]] == pytest.approx(fitted.discrimination.tolist())
    assert [row["answered"] for row in written["items"]] == [6, 4, 8, 0, 4, 4]
    assert [row["id"] for row in written["items"] if row["chosen"]] == ["v0", "v1"]


def test_items_that_tell_nothing_come_last(tmp_path: Path, starter: Task) -> None:
    found = probes(tmp_path, starter, Scripted("weak"), Scripted("able"), count=4)
    assert [item.id for item in found] == ["v0", "v1", "v4", "v5"]


def test_a_killed_run_goes_on_after_its_last_whole_respondent(tmp_path: Path, starter: Task) -> None:
    with pytest.raises(Stopped):
        probes(tmp_path, starter, Scripted("weak"), Scripted("able", fail_at=1))
    weak, able = Scripted("weak"), Scripted("able")
    assert [item.id for item in probes(tmp_path, starter, weak, able)] == ["v0", "v1"]
    assert weak.shots == []
    assert able.shots == [1, 1, 2, 2, 3, 3]


def test_so_many_of_each_task_are_chosen(tmp_path: Path) -> None:
    class Other(Starter):
        name = "other"

    both = Mixture("both", [Starter(), Other()])
    names = ("starter", "other")
    items = [item.model_copy(update={"task": names[number % 2]}) for number, item in enumerate(ITEMS)]
    seeds = [seed.model_copy(update={"task": name}) for seed in SEEDS for name in names]
    weak, able = Scripted("weak"), Scripted("able")
    engines = {"weak": lambda: weak, "able": lambda: able}
    # Of v0, v2, v4 the first tells respondents apart, of v1, v3, v5 also; shots are seeds of the item's own task.
    found = discriminating_probes(tmp_path, items, 1, seeds, both, engines, 4, 9)  # type: ignore[arg-type]
    assert [item.id for item in found] == ["v0", "v1"]
    written = json.loads((tmp_path / "probes.json").read_text(encoding="utf-8"))["items"]
    assert [row["id"] for row in written] == [item.id for item in items]
    table = np.array([[str(n) in KNOWN[who, shots] for n in (0, 2, 4)] for who in ("weak", "able") for shots in SHOTS])
    alone = irt.fit(table).discrimination
    assert [written[place]["discrimination"] for place in (0, 2, 4)] == pytest.approx(alone.tolist())
