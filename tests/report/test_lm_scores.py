"""lm-eval's own tasks in report, page and card: scores before and after, and changes paired by document."""

from pathlib import Path

import pytest

from arte import yaml12
from arte.config import load_saved
from arte.report.card import model_card
from arte.report.gather import gather
from arte.report.html import page
from arte.rows import write_rows
from arte.stages.lm_tasks import Document, TaskScore

ACC = {"untrained": [1, 1, 1, 1, 1, 1, 0, 1, 1, 1], "verified": [1] * 9 + [0], "arte": [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]}
PERPLEXITY = {"untrained": 12.5, "verified": 13.0, "arte": 31.25}


@pytest.fixture
def asked(run_folder: Path) -> Path:
    recipe = load_saved(run_folder / "recipe.yaml")
    settings = recipe.evaluate.model_copy(update={"tasks": ("sky", "pages")})
    changed = recipe.model_copy(update={"evaluate": settings})
    (run_folder / "recipe.yaml").write_text(yaml12.dump(changed.model_dump(mode="json")), "utf-8")
    for arm, right in ACC.items():
        folder = run_folder / "evaluate-tasks" / arm
        folder.mkdir(parents=True)
        shared = {"filter": "none", "shots": 0, "version": "1.0", "in_chat": False, "too_long": 0}
        rows = [
            {"task": "sky", "metric": "acc", "value": sum(right) / 10, "standard_error": 0.1, "n": 10,
             "higher_is_better": True},
            {"task": "pages", "metric": "word_perplexity", "value": PERPLEXITY[arm], "standard_error": None, "n": 3,
             "higher_is_better": False},
        ]  # fmt: skip
        write_rows(folder / "tasks.jsonl", [TaskScore.model_validate(row | shared) for row in rows])
        documents = [
            Document(task="sky", document=place, filter="none", responses=[], scores={"acc": value})
            for place, value in enumerate(right)
        ]
        write_rows(folder / "documents.jsonl", documents)
    return run_folder


def test_changes_are_those_of_the_same_documents(asked: Path) -> None:
    rows = {(row.task, row.arm): row for row in gather(asked).lm_tasks}
    assert [*rows] == [(task, arm) for task in ("sky", "pages") for arm in ("untrained", "verified", "arte")]
    assert (rows["sky", "untrained"].value, rows["sky", "untrained"].change) == (0.9, None)
    assert rows["sky", "verified"].change == pytest.approx(0.0)  # one more, one less
    assert rows["sky", "verified"].verdict == "not shown"
    assert rows["sky", "arte"].change == pytest.approx(-0.8)
    assert rows["sky", "arte"].verdict == "worse"
    assert (rows["pages", "arte"].value, rows["pages", "arte"].change, rows["pages", "arte"].verdict) == (
        31.25, None, "–"
    )  # fmt: skip


def test_page_and_card_show_them(asked: Path) -> None:
    report = gather(asked)
    html = page(report)
    assert "Other tasks, before and after" in html
    assert "pages, word_perplexity, lower is better" in html
    assert "0.100 ± 0.100" in html
    card = model_card(report)
    assert card is not None
    assert "| sky | acc | 10 | untrained | 0.900 ± 0.100 | – |" in card
    assert "| sky | acc | 10 | arte | 0.100 ± 0.100 | −0.800 (−1.000 to " in card
    assert "| pages | word_perplexity | 3 | arte | 31.250 | – |" in card


def test_none_is_shown_that_the_recipe_does_not_ask_for(asked: Path) -> None:
    recipe = load_saved(asked / "recipe.yaml")
    changed = recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"tasks": ()})})
    (asked / "recipe.yaml").write_text(yaml12.dump(changed.model_dump(mode="json")), "utf-8")
    assert gather(asked).lm_tasks == []
    assert "Other tasks" not in page(gather(asked))
