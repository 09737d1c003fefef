"""vLLM in this process beside transformers: the same answers, the same log-probabilities."""

import gc
import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from arte import models, tasks
from arte.errors import EngineError
from arte.generation import Answer, Continuation, Prompt
from arte.generation.transformers import TransformersEngine
from arte.generation.vllm import VllmEngine
from arte.preference.icl import IclLogprob
from arte.recipe import Task as TaskSettings
from arte.recipe_engines import Vllm
from arte.rows import Example
from arte.stages.align import merge_adapter

COMMAND = {
    "type": "object",
    "properties": {"action": {"enum": ["on", "off"]}, "room": {"enum": ["hall", "attic"]}},
    "required": ["action", "room"],
    "additionalProperties": False,
}
SETTINGS = Vllm(memory_share=0.1, context=1024)


@pytest.fixture(scope="module")
def engine(folder: Path, here: TransformersEngine) -> VllmEngine:
    return VllmEngine(folder, here.tokenizer, SETTINGS, "float32")


@pytest.fixture(scope="module")
def aligned(folder: Path, adapter: Path, here: TransformersEngine) -> VllmEngine:
    return VllmEngine(folder, here.tokenizer, SETTINGS, "float32", adapter)


def prompts(engine: TransformersEngine | VllmEngine, count: int = 10) -> list[Prompt]:
    chats = [[{"role": "user", "content": f"Ada has {number} cats. How many?"}] for number in range(count)]
    return [Prompt(engine.render(chat), seed) for seed, chat in enumerate(chats)]


def ask(engine: TransformersEngine | VllmEngine, temperature: float = 0.0, stop: tuple[str, ...] = ()) -> list[Answer]:
    return engine.generate(prompts(engine), max_tokens=12, temperature=temperature, stop=stop)


def test_greedy_answers_are_those_of_transformers(engine: VllmEngine, here: TransformersEngine) -> None:
    found = ask(engine)
    assert found == ask(here)
    assert len({answer.text for answer in found}) > 5


def test_a_seed_gives_the_same_draw_again_and_another_one_another(engine: VllmEngine) -> None:
    found = ask(engine, temperature=1.0)
    assert found == ask(engine, temperature=1.0)
    others = [prompt._replace(seed=prompt.seed + 99) for prompt in prompts(engine)]
    elsewhere = engine.generate(others, max_tokens=12, temperature=1.0)
    assert sum(one.text != other.text for one, other in zip(found, elsewhere, strict=True)) >= 8


def test_seeded_draws_behind_more_prompt_tokens_than_a_step_reads(engine: VllmEngine) -> None:
    """A step of the CPU build cuts the prompt that does not fit into it, and then fails over that prompt's seed."""
    long = [Prompt(f"{prompt.text} {'Then one cat leaves. ' * 30}", prompt.seed) for prompt in prompts(engine, 40)]
    found = engine.generate(long, max_tokens=8, temperature=1.0)
    assert sum(answer.tokens_in for answer in found) > 2 * 4096
    assert all(answer.tokens_out for answer in found)
    assert found == engine.generate(long, max_tokens=8, temperature=1.0)


def test_a_stop_string_ends_an_answer(engine: VllmEngine, here: TransformersEngine) -> None:
    stop = ask(engine)[0].text[4:6]
    assert [(one.text, one.finish) for one in ask(engine, stop=(stop,))] == [
        (one.text, one.finish) for one in ask(here, stop=(stop,))
    ]
    assert ask(engine, stop=(stop,))[0].finish == "stop"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_are_held_to_a_schema(engine: VllmEngine, temperature: float) -> None:
    """A teacher that was never taught JSON writes nothing else."""
    asked = prompts(engine, 6)
    asked = [prompt._replace(schema=json.dumps(COMMAND)) for prompt in asked]
    held = engine.generate(asked, max_tokens=60, temperature=temperature)
    assert [answer.finish for answer in held] == ["stop"] * 6
    found = [json.loads(answer.text) for answer in held]
    assert all(set(row) == {"action", "room"} for row in found)
    assert all(row["action"] in {"on", "off"} and row["room"] in {"hall", "attic"} for row in found)
    assert not any(answer.text.startswith("{") for answer in ask(engine, temperature))


def test_a_prompt_that_is_too_long_falls_out_alone(engine: VllmEngine) -> None:
    asked = prompts(engine, 2)
    found = engine.generate([asked[0], Prompt("cat " * 2000), asked[1]], max_tokens=12, temperature=0.0)
    assert [answer.finish == "too_long" for answer in found] == [False, True, False]
    assert [found[0], found[2]] == ask(engine)[:2]


def test_log_probabilities_are_those_of_transformers(engine: VllmEngine, here: TransformersEngine) -> None:
    """The starts are longer than the 128 tokens that a block of the cache holds, and asked for twice."""
    start = "Ada has 3 cats and Ben has 5 dogs. " * 20
    assert len(here.ids(start)) > 256
    asked = [Continuation(start, "How many cats?"), Continuation(start, "3 + 2 = 5"), Continuation("Ada", " has", 1)]
    for _ in range(2):
        found, wanted = engine.logprobs([*asked, asked[0]]), here.logprobs([*asked, asked[0]])
        assert [one.tokens_in for one in found] == [one.tokens_in for one in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
    assert min(min(one.logprobs) for one in found) < -3 < max(max(one.logprobs) for one in found) + 3


def test_a_text_longer_than_a_block_is_not_read_from_the_cache(engine: VllmEngine, here: TransformersEngine) -> None:
    """Asked for twice in one call: the second may find the first one's text in the cache, where no value is."""
    long = Continuation("Ada has", " many cats and dogs and hens" * 20)
    found, wanted = engine.logprobs([long] * 3), here.logprobs([long] * 3)
    assert len(found[0].logprobs) > 256
    for one, other in zip(found, wanted, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_the_score_is_the_same(engine: VllmEngine, here: TransformersEngine) -> None:
    starter = tasks.load("starter")
    splits = starter.splits(TaskSettings(name="starter", seeds=4, probes=7, test=8), 0)
    example = Example(id="e", question="Bela packs 4 boxes of 6 cups.", rationale="4 * 6 = 24", answer="24")
    [found] = IclLogprob(engine, starter, splits.probes).table([example])
    [wanted] = IclLogprob(here, starter, splits.probes).table([example])
    assert found == pytest.approx(wanted, abs=1e-3)
    assert len(found) == 7


def test_an_adapter_is_served_without_merging(aligned: VllmEngine, folder: Path, adapter: Path) -> None:
    model, tokenizer = models.load(folder, "float32", "cpu")
    merged = TransformersEngine(merge_adapter(model, adapter), tokenizer)
    found = ask(aligned)
    same = sum(one == other for one, other in zip(found, ask(merged), strict=True))
    assert same >= 9  # B·(A·x) and (B·A)·x round differently
    plain = ask(TransformersEngine(*models.load(folder, "float32", "cpu")))
    assert sum(one.text != other.text for one, other in zip(found, plain, strict=True)) >= 8


def test_a_folder_that_vllm_cannot_load(tmp_path: Path, here: TransformersEngine) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "none of these"}')
    with pytest.raises(EngineError, match="vLLM cannot load it"):
        VllmEngine(tmp_path, here.tokenizer, SETTINGS, "float32")


def test_nothing_of_an_engine_stays(folder: Path, here: TransformersEngine) -> None:
    """A thread that is there when Python ends can abort it, and a process has its memory."""
    threads, processes = set(threading.enumerate()), set(multiprocessing.active_children())
    made = VllmEngine(folder, here.tokenizer, SETTINGS, "float32")
    assert ask(made)
    assert {thread.name for thread in set(threading.enumerate()) - threads} >= {"EngineCoreOutputQueueThread"}
    assert len(set(multiprocessing.active_children()) - processes) == 1
    del made
    gc.collect()
    assert set(threading.enumerate()) <= threads
    assert set(multiprocessing.active_children()) <= processes
