from pathlib import Path
from typing import Any

import pytest
from arte_export import generic_text


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def test_it_is_long_plain_and_the_same_every_time() -> None:
    text = generic_text.text()
    assert text == generic_text.text()
    assert 50_000 < len(text.split()) < 120_000  # 65,501 in Python 3.11.7
    assert text.startswith('The "assert" statement\n')
    assert sum(character.isascii() for character in text) > 0.99 * len(text)
    assert "\n\n\n\n\n" not in text


def test_rows_are_the_text_cut_into_equal_pieces(tokenizer: Any) -> None:
    rows = generic_text.rows(tokenizer, tokens=96, limit=25)
    assert [len(row) for row in rows] == [96] * 25
    assert rows[:10] == generic_text.rows(tokenizer, tokens=96, limit=10)
    joined = tokenizer.decode([token for row in rows for token in row])
    assert generic_text.text().startswith(joined)
    assert len(joined) > 25 * 96


def test_rows_end_with_the_text(tokenizer: Any) -> None:
    ids = tokenizer(generic_text.text(), add_special_tokens=False)["input_ids"]
    rows = generic_text.rows(tokenizer, tokens=10_000, limit=10**9)
    assert len(rows) == len(ids) // 10_000 > 10
    assert [token for row in rows for token in row] == ids[: len(rows) * 10_000]


def test_a_row_begins_with_bos_where_the_tokenizer_adds_one(tokenizer: Any) -> None:
    class WithBos:
        """The tiny tokenizer, if it put BOS in front as Llama 3 and Gemma do."""

        bos_token_id = tokenizer.bos_token_id

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            front = [self.bos_token_id] if add_special_tokens else []
            return {"input_ids": front + tokenizer(text, add_special_tokens=False)["input_ids"]}

    plain = generic_text.rows(tokenizer, tokens=63, limit=5)
    rows = generic_text.rows(WithBos(), tokens=64, limit=5)
    assert rows == [[tokenizer.bos_token_id, *row] for row in plain]
    assert len(rows) == 5
