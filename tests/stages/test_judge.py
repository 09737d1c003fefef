"""`arte evaluate` on a tiny model and a task with options."""

import json
import math
from pathlib import Path

import datasets
import pytest
import torch
from arte_export import likelihood
from arte_export.device_file import DeviceFile
from arte_export.errors import BadModel
from torch.nn.functional import cross_entropy

from arte import recipe, tasks
from arte.errors import ModelError
from arte.models import ModelFolder
from arte.recipe import Evaluate
from arte.rows import Item
from arte.stages import judge
from arte.stages.evaluate import Sample
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


def test_lm_evals_tasks_of_a_folder_are_asked_of_a_model_not_of_a_file(
    tiny_student: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    tasks_folder = tmp_path / "tasks"
    tasks_folder.mkdir()
    (tasks_folder / "sky.jsonl").write_text('{"page": "The sky is blue."}\n{"page": "Ada has 3 cats."}\n')
    (tasks_folder / "sky.yaml").write_text(
        f"task: sky\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tasks_folder}/sky.jsonl}}}}\n"
        "test_split: test\noutput_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{page}}'\n"
        "metric_list: [{metric: bits_per_byte}]\n"
    )
    settings = Evaluate(tasks=("sky",), tasks_folder=str(tasks_folder), tasks_limit=1)
    [score] = judge.ask_lm_tasks(str(tiny_student.path), settings, tmp_path / "out")
    student = load(tiny_student)
    total = _logprob(student, student.tokenizer.bos_token, "The sky is blue.")
    assert score.n == 1
    assert score.value == pytest.approx(-total / 16 / math.log(2), rel=0.02)  # a processor may compute in bfloat16
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["documents.jsonl", "tasks.jsonl"]
    with pytest.raises(ModelError, match="not of a device file"):
        judge.ask_lm_tasks(str(tmp_path / "model.gguf"), settings, None)
