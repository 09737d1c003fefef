"""lm-eval's own tasks, asked of a tiny student: scores by a slow, obvious computation."""

import json
import math
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import datasets
import pytest
import torch
import yaml
from lm_eval import evaluator
from lm_eval.models.huggingface import HFLM

from arte import pipeline, teaching
from arte.config import load_recipe
from arte.errors import DataError, ModelError
from arte.models import ModelFolder
from arte.one_run import Run
from arte.recipe import Evaluate
from arte.report.files import parsed
from arte.report.gather import gather
from arte.rows import read_rows
from arte.stages import lm_tasks
from arte.stages.lm_student import LmStudent
from arte.stages.lm_tasks import Document, TaskScore
from arte.stages.overlap import Overlap
from arte.workspace import Workspace
from tests.stages.conftest import Loaded, load

SKY: list[dict[str, Any]] = [
    {"question": "The sky is", "choices": ["blue", "a green cat"], "label": 0, "page": "The sky is blue. So is it."},
    {"question": "Two and two are ", "choices": ["four", "ten"], "label": 1, "page": "Ada has 3 cats; Bela has 14."},
    {"question": "", "choices": ["yes", "no"], "label": 0, "page": "one"},
]  # fmt: skip
PERPLEXITIES = [
    {"metric": name, "aggregation": how, "higher_is_better": False}
    for name, how in (("word_perplexity", "weighted_perplexity"), ("bits_per_byte", "bits_per_byte"))
]
KINDS: dict[str, dict[str, Any]] = {
    "sky": {
        "output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_choice": "choices",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "last": {
        "output_type": "loglikelihood", "doc_to_text": "{{question}}", "doc_to_target": "{{' ' + choices[0]}}",
        "metric_list": [{"metric": "acc"}],
    },
    "pages": {
        "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{page}}",
        "metric_list": PERPLEXITIES,
    },
    "say": {
        "output_type": "generate_until", "doc_to_text": "{{question}}?", "doc_to_target": "{{choices[0]}}",
        "description": "Answer.", "generation_kwargs": {"until": ["a"], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "tasks"
    made.mkdir()
    data = made / "sky.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in SKY))
    for name, kind in KINDS.items():
        source = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test"}
        written = {"task": name, **source, **kind, "metadata": {"version": 2.0}}
        (made / f"{name}.yaml").write_text(yaml.safe_dump(written))
    return made


def ask(student: Loaded, folder: Path, out: Path, *names: str, context: int = 512) -> list[TaskScore]:
    out.mkdir(exist_ok=True)
    settings = Evaluate(tasks=names, tasks_folder=str(folder))
    make = lambda log: LmStudent(student.engine, student.tokenizer, context, out / log, 4)  # noqa: E731
    return lm_tasks.ask(lm_tasks.load(settings), make, out, None)


def logprob(student: Loaded, context: list[int], ids: list[int]) -> tuple[float, bool]:
    """By one plain forward pass."""
    with torch.inference_mode():
        logits = student.model(input_ids=torch.tensor([context + ids]), use_cache=False).logits[0].double()
    seen = torch.log_softmax(logits[len(context) - 1 : -1], dim=-1)
    total = sum(float(row[token]) for row, token in zip(seen, ids, strict=True))
    return total, seen.argmax(dim=-1).tolist() == ids


def continued(student: Loaded, context: str, text: str) -> tuple[float, bool]:
    """Tokens as lm-eval cuts them: together, white space with what follows, the first token behind nothing."""
    if not context:
        return logprob(student, [student.tokenizer.bos_token_id], student.ids(text))
    start = student.ids(context.rstrip())
    return logprob(student, start, student.ids(context + text)[len(start) :])


def test_options_by_log_likelihood(tiny_student: ModelFolder, folder: Path, tmp_path: Path) -> None:
    student = load(tiny_student)
    scores = {score.metric: score for score in ask(student, folder, tmp_path / "out", "sky")}
    acc, norm = [], []
    for row in SKY:
        values = [continued(student, row["question"], f" {choice}")[0] for choice in row["choices"]]
        per_character = [value / len(choice) for value, choice in zip(values, row["choices"], strict=True)]
        acc.append(float(values.index(max(values)) == row["label"]))
        norm.append(float(per_character.index(max(per_character)) == row["label"]))
    for metric, values in (("acc", acc), ("acc_norm", norm)):
        assert scores[metric].value == pytest.approx(fmean(values))
        assert scores[metric].standard_error == pytest.approx(stdev(values) / math.sqrt(3))
    assert (scores["acc"].n, scores["acc"].in_chat, scores["acc"].version) == (3, False, "2.0")
    assert scores["acc"].higher_is_better is True
    documents = read_rows(tmp_path / "out" / "documents.jsonl", Document)
    assert [row.scores["acc"] for row in documents] == acc
    first = documents[0].responses
    assert first[0][0] == pytest.approx(continued(student, "The sky is", " blue")[0], abs=1e-3)
    assert read_rows(tmp_path / "out" / "tasks.jsonl", TaskScore) == list(scores.values())


def test_a_continuation_is_greedy_or_not(tiny_student: ModelFolder, folder: Path, tmp_path: Path) -> None:
    student = load(tiny_student)
    [score] = ask(student, folder, tmp_path / "out", "last")
    expected = [continued(student, row["question"], f" {row['choices'][0]}")[1] for row in SKY]
    assert score.value == fmean(expected)


@pytest.mark.parametrize("context", [512, 9])
def test_perplexity_of_whole_texts(tiny_student: ModelFolder, folder: Path, tmp_path: Path, context: int) -> None:
    """With a context of 9, texts are read in windows of 8; each token is predicted once, behind as much as there is."""
    student = load(tiny_student)
    scores = {score.metric: score for score in ask(student, folder, tmp_path / "out", "pages", context=context)}
    total, window = 0.0, context - 1
    for row in SKY:
        ids = [student.tokenizer.bos_token_id, *student.ids(row["page"])]
        done = 1
        while done < len(ids):
            end = min(done + window, len(ids))
            begin = max(0, end - window - 1)
            total += logprob(student, ids[begin:done], ids[done:end])[0]
            done = end
    pages = [row["page"] for row in SKY]
    words, size = sum(len(page.split()) for page in pages), sum(len(page.encode()) for page in pages)
    assert scores["word_perplexity"].value == pytest.approx(math.exp(-total / words), rel=1e-3)
    assert scores["bits_per_byte"].value == pytest.approx(-total / size / math.log(2), rel=1e-3)
    assert scores["word_perplexity"].standard_error is None
    assert scores["word_perplexity"].higher_is_better is False


def test_answers_are_asked_as_a_chat_and_end_at_their_stop(
    tiny_student: ModelFolder, folder: Path, tmp_path: Path
) -> None:
    student = load(tiny_student)
    [score] = ask(student, folder, tmp_path / "out", "say")
    assert score.in_chat
    said = [row.responses[0] for row in read_rows(tmp_path / "out" / "documents.jsonl", Document)]
    for row, text in zip(SKY, said, strict=True):
        prompt = student.engine.render(
            [{"role": "system", "content": "Answer."}, {"role": "user", "content": f"{row['question']}?"}]
        )
        ids = student.ids(prompt)
        start = len(ids)
        while len(ids) < start + 12 and "a" not in student.tokenizer.decode(ids[start:], skip_special_tokens=True):
            with torch.inference_mode():
                ids.append(int(student.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] in student.engine.end_ids:
                break
        assert text == student.tokenizer.decode(ids[start:], skip_special_tokens=True).split("a")[0]
    assert score.value == fmean(text == row["choices"][0] for row, text in zip(SKY, said, strict=True))


def test_what_is_too_long_is_counted_or_named(tiny_student: ModelFolder, folder: Path, tmp_path: Path) -> None:
    student = load(tiny_student)
    student.model.config.max_position_embeddings = 20
    [score] = ask(student, folder, tmp_path / "say", "say")
    assert score.too_long == 3
    assert "3 prompts did not fit" in lm_tasks.lines([score])[0]
    with pytest.raises(DataError, match=r"a continuation of \d+ tokens \(' a green"):
        ask(student, folder, tmp_path / "sky", "sky", context=4)


def test_a_killed_run_asks_nothing_twice(tiny_student: ModelFolder, folder: Path, tmp_path: Path) -> None:
    student = load(tiny_student)
    first = ask(student, folder, tmp_path / "out", "sky", "say", "pages")
    passes = student.count_passes()
    assert ask(student, folder, tmp_path / "out", "sky", "say", "pages") == first
    assert passes == []


def test_names_and_data_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lm-eval has no task or group 'hellaswagg'; near to it: hellaswag,"):
        lm_tasks.load(Evaluate(tasks=("hellaswagg",)))
    with pytest.raises(DataError, match=r"the data of hellaswag could not be had: .*HF_HOME"):
        lm_tasks.load(Evaluate(tasks=("hellaswag",)))
    with pytest.raises(DataError, match=r"nor .*tasks has no task or group 'skyy'; near to it: .*sky"):
        lm_tasks.load(Evaluate(tasks=("skyy",), tasks_folder=str(folder)))
    with pytest.raises(DataError, match=r"nowhere is no folder"):
        lm_tasks.load(Evaluate(tasks=("sky",), tasks_folder=str(tmp_path / "nowhere")))
    (folder / "sky.jsonl").unlink()
    with pytest.raises(DataError, match=r"the data of sky could not be had: Unable to find"):
        lm_tasks.load(Evaluate(tasks=("sky",), tasks_folder=str(folder)))


def test_a_task_that_runs_what_a_student_writes_is_left_alone(folder: Path) -> None:
    written = yaml.safe_load((folder / "say.yaml").read_text()) | {"task": "code", "unsafe_code": True}
    (folder / "code.yaml").write_text(yaml.safe_dump(written))
    with pytest.raises(DataError, match="code runs code that a student writes"):
        lm_tasks.load(Evaluate(tasks=("code",), tasks_folder=str(folder)))


def test_every_arm_of_a_run_is_asked_and_kept(folder: Path, tmp_path: Path) -> None:
    overrides = ["arms=[untrained]", "teacher.name=tiny-random-teacher", "task.test=2", "evaluate.max_tokens=4",
                 "evaluate.tasks=[pages]", f"evaluate.tasks_folder={folder}"]  # fmt: skip
    run, said = tmp_path / "run", list[str]()
    pipeline.run(load_recipe("gsm8k", "smoke", overrides), run, until="evaluate", say=said.append)
    assert [line.split()[0] for line in said] == ["evaluate/untrained", "evaluate-tasks/untrained"]
    scores = read_rows(run / "evaluate-tasks" / "untrained" / "tasks.jsonl", TaskScore)
    assert [(score.task, score.metric) for score in scores] == [
        ("pages", "word_perplexity"),
        ("pages", "bits_per_byte"),
    ]
    record = json.loads((run / "evaluate-tasks" / "untrained" / "stage.json").read_text())
    assert record["tokens_in"] > 0
    given = json.loads((run / "evaluate" / "untrained" / "stage.json").read_text())["given"]["evaluate"]
    assert set(given) == {"shots", "max_tokens", "batch_size"}  # other tasks do not undo the run's own evaluation
    limited = load_recipe("gsm8k", "smoke", [*overrides, "evaluate.tasks_limit=1"])
    again: list[str] = []
    pipeline.run(limited, run, until="evaluate", say=again.append)
    assert ["kept" in line for line in again] == [True, False]
    assert [row.arm for row in gather(run).lm_tasks] == ["untrained"] * 2
    (folder / "sky.jsonl").write_text(json.dumps({**SKY[0], "page": "Another page."}) + "\n")
    pipeline.run(limited, run, until="evaluate", say=again.append)
    assert ["kept" in line for line in again[2:]] == [True, False]


def test_figures_are_those_of_lm_evals_own_adapter(tiny_student: ModelFolder, folder: Path, tmp_path: Path) -> None:
    student = load(tiny_student)
    ours = {(score.task, score.metric): score for score in ask(student, folder, tmp_path / "out", *KINDS)}
    theirs = HFLM(pretrained=student.model, tokenizer=student.tokenizer, batch_size=2, max_length=512)
    for loaded in lm_tasks.load(Evaluate(tasks=tuple(KINDS), tasks_folder=str(folder))):
        found = evaluator.evaluate(
            theirs,
            {"tasks": loaded.tasks, "groups": {}},
            bootstrap_iters=10,
            apply_chat_template=loaded.name == "say",
            fewshot_as_multiturn=True,
        )
        assert found is not None
        values = {key: value for key, value in found["results"][loaded.name].items() if key.endswith(",none")}
        assert values
        for key, value in values.items():
            metric = key.removesuffix(",none").removesuffix("_stderr")
            score = ours[loaded.name, metric]
            mine = score.standard_error if "_stderr" in key else score.value
            assert mine == (None if value == "N/A" else pytest.approx(value, rel=1e-3))


def test_a_chat_template_that_refuses_a_turn_is_named(tiny_student: ModelFolder, folder: Path, tmp_path: Path) -> None:
    student = load(tiny_student)
    student.tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    )
    with pytest.raises(ModelError, match=r"refuses a chat of lm-eval's \(system, user\): no system turn"):
        ask(student, folder, tmp_path / "out", "say")


def test_nothing_is_trained_on_that_a_student_is_judged_by(folder: Path, tmp_path: Path) -> None:
    page = "A lake is as deep as the sky over it is high"  # 12 words, in the second of two documents
    rows = [{"page": "Say what a lake is, in no more than nine words", "note": page[:20]}, {"page": page, "note": "x"}]
    (folder / "sky.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = load_recipe("gsm8k", "smoke", [
        "arms=[untrained,verified]", "teacher.name=tiny-random-teacher", "task.test=8", "evaluate.tasks=[pages]",
        f"evaluate.tasks_folder={folder}",
    ])  # fmt: skip
    path = tmp_path / "run"
    with Workspace.open(path, recipe) as workspace:
        run = Run(recipe, workspace, lambda _: None)
        seeds = teaching.gold(run)
        teaching.check_overlap(run, {"verified": seeds})
        found = {row.test: row for row in parsed(path / "overlap.json", Overlap)}
        assert [*found] == ["test", "unseen", "lm-eval pages"]
        assert [(row.arm, row.examples, row.contained) for row in found.values()] == [("verified", len(seeds), [])] * 3
        assert found["test"].items == 8
        assert (found["lm-eval pages"].items, found["lm-eval pages"].shared) == (2, 0)
        asked = seeds[0].model_copy(update={"question": run.splits.test[2].question.upper()})
        with pytest.raises(DataError, match=rf"verified, test: {asked.id} holds {run.splits.test[2].id}: "):
            teaching.check_overlap(run, {"verified": [*seeds, asked]})
        copied = seeds[0].model_copy(update={"rationale": f"{page}, they say."})
        with pytest.raises(DataError, match=r"overlap.json: students would be trained on what they are judged by"):
            teaching.check_overlap(run, {"verified": [seeds[0].model_copy(update={"rationale": f"{page} ."})]})
        teaching.check_overlap(run, {"verified": [copied]})  # another word at its end: it shares, and holds no whole
        shared = [row.shared for row in parsed(path / "overlap.json", Overlap) if row.test == "lm-eval pages"]
        assert shared == [1]
    assert [read["name"] for read in json.loads((path / "data.json").read_text())["read"]] == []  # it is made here
    assert gather(path).overlaps[-1].test == "lm-eval pages"
