"""`arte evaluate` on a tiny model and a task with options."""

import json
import math
from pathlib import Path

import datasets
import pytest
import torch
from arte_export import likelihood, onnx_genai
from arte_export.device_file import DeviceFile
from arte_export.errors import BadModel
from torch.nn.functional import cross_entropy

from arte import models, recipe, tasks
from arte.models import ModelFolder
from arte.recipe import Evaluate
from arte.rows import Item, read_rows
from arte.stages import judge
from arte.stages.evaluate import Sample
from arte.stages.lm_tasks import Document
from tests.stages.conftest import Loaded, load

YAML = """\
about: Words to their kind.
things: words
fields: {input: word, answer: kind}
answer: {kind: choice, choices: [noun, verb]}
"""


@pytest.fixture
def words(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "task.yaml").write_text(YAML)
    for split in ("seeds", "validation", "test"):
        rows = [{"word": f"{split} {number}", "kind": "noun"} for number in range(3)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_likeliest_option_stands_beside_the_written_answer(
    words: Path, tiny_student: ModelFolder, tmp_path: Path
) -> None:
    settings = recipe.Task(name=str(words), seeds=2, probes=2)
    samples = judge.judge(str(tiny_student.path), settings, Evaluate(max_tokens=4), tmp_path / "out")
    student = load(tiny_student)
    right = 0
    for sample in samples:
        assert isinstance(sample, Sample)
        prompt = student.engine.render(tasks.load(str(words)).student_prompt(f"test {sample.id[-1]}"))
        values = {kind: _logprob(student, prompt, kind) for kind in ("noun", "verb")}
        assert sample.logprobs == pytest.approx(values, abs=0.2)  # a processor may compute in bfloat16
        right += values["noun"] > values["verb"]
    printed = judge.lines(samples)
    assert [line.split()[:2] for line in printed] == [
        ["test", metric] for metric in ("strict", "flexible", "acc", "acc_norm")
    ]
    assert printed[2].startswith(f"test    acc       {right} of 3: {100 * right / 3:.1f} %")


def _logprob(student: Loaded, prompt: str, reply: str) -> float:
    start, given = student.ids(prompt), student.ids(reply)
    with torch.inference_mode():
        logits = student.model(input_ids=torch.tensor([start + given])).logits[0, len(start) - 1 : -1]
    return -float(cross_entropy(logits.double(), torch.tensor(given), reduction="sum"))


def test_a_file_without_log_probabilities_says_so(words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[likelihood.Likelihood]:
        raise BadModel("unknown input past.0")

    monkeypatch.setattr(likelihood, "of", refuse)
    said: list[str] = []
    file = DeviceFile(path=tmp_path / "model-onnx", format="onnx", scheme=None, home=tmp_path)
    item = Item(id="t", question="go", rationale="", answer="verb")
    assert judge._scoring(file, tasks.load(str(words)), [item], ["prompt"], said.append) is None
    assert "options are not scored" in said[0]
    assert "unknown input past.0" in said[0]


def test_lm_evals_tasks_are_asked_of_a_model_and_of_its_file(
    tiny_student: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [{"page": "The sky is blue.", "next": "a lake"}, {"page": "Ada has 3 cats.", "next": "x"}]
    (folder / "sky.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = (
        f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder}/sky.jsonl}}}}\ntest_split: test\n"
        "doc_to_text: '{{page}}'\n"
    )
    kinds = {
        "whole": "output_type: loglikelihood_rolling\ndoc_to_target: '{{page}}'\n"
        "metric_list: [{metric: bits_per_byte}]\n",
        "next": "output_type: multiple_choice\ndoc_to_choice: [a lake, x]\ndoc_to_target: '{{next}}'\n",
        "say": "output_type: generate_until\ndoc_to_target: '{{next}}'\n"
        "generation_kwargs: {until: [e], max_gen_toks: 8, do_sample: false}\n",
    }
    for name, kind in kinds.items():
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{source}{kind}")
    settings = Evaluate(tasks=tuple(kinds), tasks_folder=str(folder), tasks_limit=1)
    monkeypatch.setattr(models, "compute_dtype", lambda _: "float32")
    of_model = judge.ask_lm_tasks(str(tiny_student.path), settings, tmp_path / "model")
    student = load(tiny_student)
    total = _logprob(student, student.tokenizer.bos_token, "The sky is blue.")
    assert (of_model[0].n, of_model[0].metric) == (1, "bits_per_byte")
    assert of_model[0].value == pytest.approx(-total / 16 / math.log(2), rel=1e-4)
    file = onnx_genai.export(tiny_student.path, tmp_path / "tiny-onnx", "fp32")
    of_file = judge.ask_lm_tasks(str(file), settings, tmp_path / "file")
    assert [(score.task, score.metric) for score in of_file] == [(score.task, score.metric) for score in of_model]
    for one, other in zip(of_file, of_model, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-3)
    said = [read_rows(tmp_path / name / "documents.jsonl", Document) for name in ("model", "file")]
    # onnxruntime-genai leaves out a byte that is no character by itself
    assert said[0][-1].responses[0].replace("\N{REPLACEMENT CHARACTER}", "") == said[1][-1].responses[0]
    values, wanted = ([response[0] for response in written[1].responses] for written in said)
    assert values == pytest.approx(wanted, abs=1e-2)
    assert sorted(path.name for path in (tmp_path / "file").iterdir()) == ["documents.jsonl", "tasks.jsonl"]
