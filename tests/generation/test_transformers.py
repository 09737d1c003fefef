from collections.abc import Sequence

import pytest
import torch

from arte import models
from arte.generation import Answer, Prompt
from arte.generation.transformers import STOP_WINDOW, TransformersEngine
from arte.models import ModelFolder

SHARED = ["2 + 2 =", "2 + 2 = 4, so what is a much longer question about the sale of 12 cakes?", "2 + 2 and 3"]
APART = ["one cat", "Bela packs 4 boxes with 6 cups each.", "é!", "so", "Ada had 17 marbles and lost 5 of them"]
TOKENS = 24


def greedy_by_transformers(engine: TransformersEngine, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """The new token ids of each row, without what pads them behind their end."""
    rows = engine.tokenizer(list(texts), add_special_tokens=False, padding=True, return_tensors="pt")
    drawn = engine.model.generate(
        **rows, max_new_tokens=max_tokens, do_sample=False, pad_token_id=engine.tokenizer.pad_token_id
    )
    found = []
    for ids in drawn[:, rows["input_ids"].shape[1] :].tolist():
        ends = [place for place, token in enumerate(ids) if token in engine.end_ids]
        found.append(ids[: ends[0] + 1] if ends else ids)
    return found


def text_of(engine: TransformersEngine, ids: list[int]) -> str:
    return str(engine.tokenizer.decode(ids, skip_special_tokens=True))


def greedy(engine: TransformersEngine, texts: Sequence[str], stop: Sequence[str] = ()) -> list[Answer]:
    return engine.generate([Prompt(text) for text in texts], max_tokens=TOKENS, temperature=0.0, stop=stop)


@pytest.mark.parametrize("texts", [SHARED, APART, SHARED[:1], ["same", "same"]], ids=["shared", "apart", "one", "same"])
def test_greedy_answers_are_those_of_transformers(student_engine: TransformersEngine, texts: list[str]) -> None:
    expected = greedy_by_transformers(student_engine, texts, TOKENS)
    answers = greedy(student_engine, texts)
    assert [answer.text for answer in answers] == [text_of(student_engine, ids) for ids in expected]
    assert [answer.tokens_out for answer in answers] == [len(ids) for ids in expected]
    lengths = [len(student_engine.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert [answer.tokens_in for answer in answers] == lengths
    assert len({answer.text for answer in answers}) == len(set(texts))


def test_greedy_answers_of_groups_are_those_of_transformers(student_engine: TransformersEngine) -> None:
    """Two groups with starts of other lengths, and a prompt that has a start for itself."""
    texts = [*SHARED, *(f"{APART[1]} {rest}" for rest in ("How many cups is that?", "So", "He sells 9.")), APART[4]]
    expected = greedy_by_transformers(student_engine, texts, TOKENS)
    prompts = [Prompt(text, group=group) for text, group in zip(texts, [0, 0, 0, 1, 1, 1, 2], strict=True)]
    mixed = [3, 0, 6, 1, 4, 2, 5]
    answers = student_engine.generate([prompts[place] for place in mixed], max_tokens=TOKENS, temperature=0.0)
    assert [answer.text for answer in answers] == [text_of(student_engine, expected[place]) for place in mixed]
    assert len({answer.text for answer in answers}) == 7


@pytest.fixture
def ending_engine(tiny_student: ModelFolder, student_engine: TransformersEngine) -> TransformersEngine:
    """A student that also ends at the token which greedily answers the second prompt of SHARED at its fifth place."""
    fifth = greedy_by_transformers(student_engine, SHARED, TOKENS)[1][4]
    model, tokenizer = models.load(tiny_student.path, "float32", "cpu")
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, fifth]
    return TransformersEngine(model, tokenizer)


def test_rows_that_end_leave_the_batch_and_the_others_go_on(ending_engine: TransformersEngine) -> None:
    expected = greedy_by_transformers(ending_engine, SHARED, TOKENS)
    answers = greedy(ending_engine, SHARED)
    assert [answer.text for answer in answers] == [text_of(ending_engine, ids) for ids in expected]
    assert len(expected[1]) <= 5
    assert len({len(ids) for ids in expected}) > 1
    for answer, ids in zip(answers, expected, strict=True):
        assert answer.tokens_out == len(ids)  # the end token counts
        assert answer.finish == ("stop" if ids[-1] in ending_engine.end_ids else "length")


def test_the_end_token_is_no_part_of_the_text(tiny_student: ModelFolder, student_engine: TransformersEngine) -> None:
    model, tokenizer = models.load(tiny_student.path, "float32", "cpu")
    head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size)  # says the end token whatever it is asked
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()[tokenizer.eos_token_id] = 50.0
    model.set_output_embeddings(head)
    ends = TransformersEngine(model, tokenizer)
    assert ends.end_ids == student_engine.end_ids == {2}
    prompts = [Prompt("a", 1), Prompt("b c", 2)]
    for temperature in (0.0, 1.0):
        answers = ends.generate(prompts, max_tokens=9, temperature=temperature)
        assert [(answer.text, answer.tokens_out, answer.finish) for answer in answers] == [("", 1, "stop")] * 2


@pytest.mark.parametrize("texts", [SHARED, APART], ids=["shared", "apart"])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.3])
def test_an_answer_does_not_depend_on_its_neighbours(
    exact_engine: TransformersEngine, texts: list[str], temperature: float
) -> None:
    prompts = [Prompt(text, seed) for seed, text in enumerate((texts * 2)[:5])]

    def answers(those: list[Prompt]) -> list[Answer]:
        return exact_engine.generate(those, max_tokens=TOKENS, temperature=temperature, top_p=0.9)

    together = answers(prompts)
    assert together == answers(prompts)
    assert together == [answers([prompt])[0] for prompt in prompts]
    assert together[::-1] == answers(prompts[::-1])
    if temperature:
        assert len({answer.text for answer in together}) == 5


def test_another_seed_is_another_answer(student_engine: TransformersEngine) -> None:
    prompts = [Prompt("2 + 2 =", seed) for seed in range(8)]
    answers = student_engine.generate(prompts, max_tokens=TOKENS, temperature=1.0)
    assert len({answer.text for answer in answers}) == 8


@pytest.mark.parametrize("most", [1, 2, 7])
def test_max_tokens(student_engine: TransformersEngine, most: int) -> None:
    answers = student_engine.generate([Prompt(text) for text in APART], max_tokens=most, temperature=0.0)
    expected = greedy_by_transformers(student_engine, APART, most)
    assert [answer.text for answer in answers] == [text_of(student_engine, ids) for ids in expected]
    assert [(answer.tokens_out, answer.finish) for answer in answers] == [(most, "length")] * 5


def test_a_stop_string_ends_its_answer_and_is_cut_off(student_engine: TransformersEngine) -> None:
    whole = greedy(student_engine, APART)
    stop = whole[1].text[3:6]  # crosses tokens
    stopped = greedy(student_engine, APART, stop=[stop, "never said"])
    ends = 0
    for answer, full in zip(stopped, whole, strict=True):
        said, found, _ = full.text.partition(stop)
        assert answer.text == said
        assert answer.finish == ("stop" if found else "length")
        assert answer.tokens_out <= full.tokens_out
        ends += bool(found)
    assert ends >= 1
    assert stopped[1].text == whole[1].text[:3]
    assert stopped[1].tokens_out < TOKENS


def test_the_earliest_of_several_stop_strings_counts(student_engine: TransformersEngine) -> None:
    full = greedy(student_engine, APART[1:2])[0].text
    answer = greedy(student_engine, APART[1:2], stop=[full[5:7], full[2:7]])[0]
    assert answer.text == full[: min(full.find(full[5:7]), full.find(full[2:7]))]


def test_a_stop_string_far_into_an_answer_is_seen(student_engine: TransformersEngine) -> None:
    most = 4 * STOP_WINDOW
    prompt = [Prompt(APART[4])]
    full = student_engine.generate(prompt, max_tokens=most, temperature=1.0)[0].text
    late = next(
        full[place : place + 3] for place in range(len(full) - 20, 0, -1) if full.find(full[place : place + 3]) == place
    )
    answer = student_engine.generate(prompt, max_tokens=most, temperature=1.0, stop=[late])[0]
    assert (answer.text, answer.finish) == (full[: full.find(late)], "stop")
    assert STOP_WINDOW < answer.tokens_out < most


def test_render_opens_the_assistants_turn(student_engine: TransformersEngine) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "2 + 2?"}]
    assert student_engine.render(messages) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_no_prompts_no_answers(student_engine: TransformersEngine) -> None:
    assert student_engine.generate([], max_tokens=5, temperature=1.0) == []


@pytest.mark.slow
def test_a_real_tokenizer_and_model(starter_model: ModelFolder) -> None:
    """Skips where no starter model is in the user's own cache."""
    engine = TransformersEngine(*models.load(starter_model.path, "float32", "cpu"))
    texts = [engine.render([{"role": "user", "content": f"What is {number} + 2?"}]) for number in (3, 41, 1234)]
    expected = greedy_by_transformers(engine, texts, 16)
    answers = engine.generate([Prompt(text) for text in texts], max_tokens=16, temperature=0.0)
    assert [answer.text for answer in answers] == [text_of(engine, ids) for ids in expected]
