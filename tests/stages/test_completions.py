"""Several replies to one prompt, which shows seeds and earlier drafts, as in Self-Instruct and Montessori-Instruct."""

import json
from pathlib import Path

import pytest

from arte.errors import StageError
from arte.tasks import Task
from tests.stages.scripted import ScriptedEngine, Stopped, arithmetic_teacher
from tests.stages.test_elicit import SEEDS, SETTINGS, rows, work

MONTESSORI = SETTINGS.model_copy(
    update={"drafts_per_prompt": 2, "completions": 4, "batch_size": 8, "questions": 20, "attempts": 2.0}
)


def test_several_replies_to_a_prompt_of_seeds_and_earlier_drafts(tmp_path: Path, starter: Task) -> None:
    """Two prompts a batch, four replies each. The first round has no drafts to show and takes four seeds."""
    engine = ScriptedEngine(arithmetic_teacher)
    work(tmp_path, engine, starter, MONTESSORI)
    questions, rationales = rows(tmp_path)
    prompts = [json.loads(row.prompt)[-1]["content"] for row in questions]
    assert [row.id for row in questions[:5]] == ["q0-0-0", "q0-1-0", "q0-2-0", "q0-3-0", "q0-4-0"]
    for start in range(0, len(prompts), 4):
        assert len(set(prompts[start : start + 4])) == 1
    assert len({row.text for row in questions[:4]}) == 4  # a seed each
    seeds = {seed.question: f"Answer: {seed.answer}" for seed in SEEDS}
    solved = {row.question_id: row for row in reversed(rationales) if row.check.accepted}
    for row, prompt in zip(questions, prompts, strict=True):
        turn = int(row.id[1:].split("-")[0])
        blocks = [block.partition(": ")[2] for block in prompt.split("\n\n")[:-1]]
        assert len(blocks) == 4
        shown = [block.partition("\n")[0] for block in blocks]
        drafts = [text for text in shown if text not in seeds]
        assert len(drafts) == (0 if turn == 0 else 2)
        for text in drafts:
            [earlier] = [each for each in questions if each.text == text and each.check.accepted]
            assert int(earlier.id[1:].split("-")[0]) < turn
            assert f"Answer: {solved[earlier.id].answer}" in blocks[shown.index(text)]
    later = [prompt for prompt in prompts if "Problem 5:" in prompt]
    assert len(later) == len(prompts)  # behind four, the fifth is asked for
    assert any(prompt.index("buys") < prompt.index("sells") for prompt in prompts[8:])  # drafts stand among the seeds


def test_with_drafts_shown_it_ends_as_if_never_stopped(tmp_path: Path, starter: Task) -> None:
    whole = ScriptedEngine(arithmetic_teacher)
    (tmp_path / "whole").mkdir()
    work(tmp_path / "whole", whole, starter, MONTESSORI)
    for calls in range(1, len(whole.calls)):
        (tmp_path / str(calls)).mkdir()
        with pytest.raises(Stopped):
            work(tmp_path / str(calls), ScriptedEngine(arithmetic_teacher, fail_after=calls), starter, MONTESSORI)
        work(tmp_path / str(calls), ScriptedEngine(arithmetic_teacher), starter, MONTESSORI)
        assert rows(tmp_path / str(calls)) == rows(tmp_path / "whole")


def test_seeds_stand_in_for_drafts_so_there_must_be_enough(tmp_path: Path, starter: Task) -> None:
    many = MONTESSORI.model_copy(update={"drafts_per_prompt": 3})
    with pytest.raises(StageError, match=r"elicit.seeds_per_prompt=2 \+ elicit.drafts_per_prompt=3: lower one"):
        work(tmp_path, ScriptedEngine(arithmetic_teacher), starter, many)
