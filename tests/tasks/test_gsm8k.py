import json
from pathlib import Path

import pytest

from arte import recipe
from arte.errors import DataError
from arte.tasks.gsm8k import Gsm8k

GSM8K = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"


def row(number: int) -> str:
    answer = f"He has {number}+1=<<{number}+1={number + 1}>>{number + 1} eggs.\nSo {number + 1}.\n#### {number + 1:,}"
    return json.dumps({"question": f"What is one more than {number}?", "answer": answer})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text("\n".join(row(number) for number in range(10)) + "\n", "utf-8")
    (tmp_path / "test.jsonl").write_text("\n".join(row(number) for number in range(1_500, 1_505)), "utf-8")
    return tmp_path


def settings(folder: Path, **changed: int | None) -> recipe.Task:
    return recipe.Task.model_validate({"data": str(folder), "seeds": 4, "probes": 3, **changed})


def test_a_folder_gives_disjoint_seeds_and_probes_and_the_first_test_items(folder: Path) -> None:
    made = Gsm8k().splits(settings(folder, test=2), seed=0)
    assert [len(items) for items in made] == [4, 3, 2, 0]
    assert len({item.question for item in made.seeds + made.probes}) == 7
    first = made.test[0]
    assert first.id == "gsm8k-test-0000"
    assert first.question == "What is one more than 1500?"
    assert first.rationale == "He has 1500+1=1501 eggs.\nSo 1501."
    assert first.answer == "1501"
    assert first.steps == 1
    assert first.template is None


def test_draws_follow_the_seed_and_the_test_does_not(folder: Path) -> None:
    first, again, other = (Gsm8k().splits(settings(folder), seed) for seed in (0, 0, 1))
    assert first == again
    assert first.seeds != other.seeds
    assert first.test == other.test
    assert len(first.test) == 5


def test_train_items_that_are_tested_are_left_out(folder: Path) -> None:
    (folder / "test.jsonl").write_text("\n".join(row(number) for number in range(3)), "utf-8")
    made = Gsm8k().splits(settings(folder), seed=0)
    drawn = {item.question for item in made.seeds + made.probes}
    assert drawn == {f"What is one more than {number}?" for number in range(3, 10)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"train\.jsonl: holds no rows"),
        (b"\n \n", r"train\.jsonl: holds no rows"),
        (b'{"question": "\xff"}', r"train\.jsonl: byte 14 is not UTF-8"),
        (b"question,answer\n", r"train\.jsonl:1: is not JSON"),
        (b"\n[1, 2]\n", r"train\.jsonl:2: found list"),
        (b'{"question": "Why?"}', r"train\.jsonl:1: no text field 'answer' \(found: question\)"),
        (b'{"question": 3, "answer": "#### 3"}', r"no text field 'question'"),
        (b'{"question": " ", "answer": "#### 3"}', r"question is empty"),
        (b'{"question": "Why?", "answer": "It is 3"}', r"train\.jsonl:1: answer ends in 'It is 3'; its last line"),
        (b'{"question": "Why?", "answer": "#### three"}', r"answer ends in '#### three'"),
        (row(1).encode(), r"need 7 train items, but there are 1"),
    ],
)
def test_broken_data_is_named_with_its_place(folder: Path, content: bytes, message: str) -> None:
    (folder / "train.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Gsm8k().splits(settings(folder), seed=0)


def test_missing_files_and_too_many_items_are_errors(folder: Path) -> None:
    with pytest.raises(DataError, match=r"task\.test=6 is more than its 5"):
        Gsm8k().splits(settings(folder, test=6), seed=0)
    with pytest.raises(DataError, match=r"no such folder; .*task\.data=PATH"):
        Gsm8k().splits(settings(folder / "nowhere"), seed=0)
    (folder / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"test\.jsonl: No such file .*task\.data=PATH"):
        Gsm8k().splits(settings(folder), seed=0)


def test_without_a_hub_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"openai/gsm8k .*could not be had from the hub: .*task\.data=PATH"):
        Gsm8k().splits(recipe.Task(), seed=0)


def test_the_real_files_are_read_whole() -> None:
    if not GSM8K.is_dir():
        pytest.skip(f"GSM8K is not at {GSM8K}")
    made = Gsm8k().splits(recipe.Task(data=str(GSM8K)), seed=0)
    assert [len(items) for items in made] == [64, 24, 1_319, 0]
    assert made.test[0].answer == "18"
    assert made.test[0].rationale.startswith("Janet sells 16 - 3 - 4 = 9 duck eggs a day.")
    assert made.test[0].steps == 2
    assert not any("<<" in item.rationale or "####" in item.rationale for items in made for item in items)
