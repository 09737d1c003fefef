"""What a run read, by its digest or its commit."""

import hashlib
from pathlib import Path

import datasets
import pytest

from arte.tasks import located
from arte.tasks.located import Read

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_files_are_noted_once_by_their_digest(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(f'{{"x": "{name}"}}\n')
    located.rows(tmp_path / "a.jsonl", "{}")
    with located.noted() as read:
        for name in ("a.jsonl", "b.jsonl", "a.jsonl"):
            located.rows(tmp_path / name, "{}")
    located.rows(tmp_path / "b.jsonl", "{}")
    assert read == [
        Read(name=name, sha256=hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
        for name in ("a.jsonl", "b.jsonl")
    ]


@pytest.mark.parametrize(
    ("addresses", "revision"),
    [
        ({f"hf://datasets/openai/gsm8k@{COMMIT}/main/train.parquet": {"num_bytes": 1}}, COMMIT),
        ({"https://example.org/train.json": {"num_bytes": 1}}, None),
        (None, None),
    ],
)
def test_hub_data_is_noted_by_the_commit_in_its_addresses(
    addresses: dict[str, dict[str, int]] | None, revision: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = datasets.Dataset.from_list([{"question": "How many?"}])
    data.info.download_checksums = addresses
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: data)
    with located.noted() as read:
        [row] = located.hub_rows("openai/gsm8k", "main", "train")
    assert row.where == "openai/gsm8k train row 0"
    assert read == [Read(name="openai/gsm8k main train", revision=revision)]
