from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arte import models
from arte.models import ModelFolder, tiny
from arte.recipe import Model


def test_vocabulary_is_what_is_written_down() -> None:
    vocabulary = tiny.vocabulary()
    # 4 special, 256 bytes, the space, 94 printable, 16 × 5 syllables with and without a space, 21 letters after a space
    assert len(vocabulary) == 4 + 256 + 1 + 94 + 80 + 80 + 21 == 536
    assert list(vocabulary.values()) == list(range(536))
    assert [vocabulary[token] for token in ("<unk>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<0x00>")] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_text_is_cut_into_syllables(tiny_student: ModelFolder) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_student.path)
    ids = tokenizer("The cat sold 12 é<|im_end|>\n")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == [
        *("T", "he", "▁ca", "t", "▁so", "l", "d", "▁", "1", "2", "▁"),
        *("<0xC3>", "<0xA9>", "<|im_end|>", "<0x0A>"),
    ]
    assert tokenizer.decode(ids) == "The cat sold 12 é<|im_end|>\n"


def test_chat_template_and_tokens(tiny_teacher: ModelFolder, tiny_student: ModelFolder) -> None:
    from transformers import AutoTokenizer

    for folder in (tiny_teacher, tiny_student):
        tokenizer = AutoTokenizer.from_pretrained(folder.path)
        messages = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
        assert tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True) == (
            "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
        )
        assert tokenizer.apply_chat_template(messages, tokenize=False) == (
            "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n"
        )
        assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|pad|>")
        assert tokenizer.padding_side == "left"


def test_sizes_and_seeds(tiny_teacher: ModelFolder, tiny_student: ModelFolder) -> None:
    # student: 536 × 32 embeddings (tied), 2 layers of 9 × 32² + 2 × 32, last norm 32
    assert (
        tiny_student.parameters == 536 * 32 + 2 * (9 * 32**2 + 64) + 32 == 35744 == tiny.parameters(tiny_student.name)
    )
    assert tiny_teacher.parameters == 2 * 536 * 64 + 2 * (9 * 64**2 + 128) + 64 == tiny.parameters(tiny_teacher.name)
    again = models.resolve(Model(name="tiny-random-student"), seed=0)
    other = models.resolve(Model(name="tiny-random-student"), seed=1)
    assert again == tiny_student
    assert other.sha256 != tiny_student.sha256
    assert other.path != tiny_student.path


def test_making_one_leaves_the_random_state_alone(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny.make("tiny-random-student", 9, tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture(scope="module")
def both_tokenizers(tiny_student: ModelFolder, tiny_gguf: Path) -> tuple[object, object]:
    llama_cpp = pytest.importorskip("llama_cpp")
    from transformers import AutoTokenizer

    theirs = llama_cpp.Llama(str(tiny_gguf), vocab_only=True, verbose=False)
    return AutoTokenizer.from_pretrained(tiny_student.path), theirs


PIECES = [
    "ba",
    "b",
    "a",
    "to",
    "the",
    "▁",
    " ",
    "   ",
    "\n",
    "\t",
    "12",
    "#### 7",
    "é",
    "天",
    "😀",
    "<|im_end|>",
    "Q",
    "<0x0A>",
]


@settings(max_examples=300, deadline=None)
@given(text=st.lists(st.sampled_from(PIECES), max_size=20).map("".join) | st.text(max_size=30))
def test_llama_cpp_gives_the_same_ids(text: str, both_tokenizers: tuple[object, object]) -> None:
    """The order of merges must not matter: llama.cpp is given the same score for every token."""
    text = text.replace("\0", "")
    ours, theirs = both_tokenizers
    assert callable(ours)
    ids = ours(text, add_special_tokens=False)["input_ids"]
    assert ids == theirs.tokenize(text.encode(), add_bos=False, special=True)  # type: ignore[attr-defined]
