"""MODEL_CARD.md and Modelfile: what goes with the files when they are given to others.

Card: the hub's model card format (YAML front matter with a model-index). Modelfile: Ollama's.
"""

from pathlib import Path
from typing import Any

from arte.report import notation, task_table, usage, words
from arte.report.contract import Artefact, Model, Report
from arte.report.scores import Metric

# The starter models come from the package index under names of ours; these are their homes on the hub.
_HOMES = {
    "smollm2-135m-instruct": ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
    "qwen2.5-coder-0.5b-instruct": ("Qwen/Qwen2.5-Coder-0.5B-Instruct", "apache-2.0"),
}
_DATASETS = {
    "gsm8k": {"type": "openai/gsm8k", "name": "GSM8K", "config": "main", "split": "test"},
    "starter": {"type": "arte-starter", "name": "ARTE starter arithmetic (not GSM8K)", "split": "test"},
}


def model_card(report: Report) -> str | None:
    """The model card, or null where no student was trained."""
    if report.student_arm in (None, "untrained"):
        return None
    import yaml

    header = yaml.safe_dump(_header(report), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{header}---\n\n# {_title(report)}",
        words.sentence(report),
        f"**Which data:** {words.data_note(report)}",
        _method(report),
        _evaluation(report),
        _other_tasks(report),
        _files(report),
        _usage(report),
        "## Limitations\n\n" + "\n".join(f"- {note}" for note in words.limitations(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def modelfile(report: Report, run: Path) -> str | None:
    """Ollama's Modelfile for the smallest GGUF file, to be used in the run folder; null where export wrote none."""
    found = _smallest(report)
    written = run / "export" / f"{(found or '').removesuffix('.gguf')}.Modelfile"
    if found is None or not written.is_file():
        return None
    text = written.read_text(encoding="utf-8").replace("FROM ./", "FROM ./export/", 1)
    return text.replace(written.name, "Modelfile", 1)


def _smallest_gguf(report: Report) -> Artefact | None:
    files = [artefact for artefact in report.artefacts if artefact.format == "gguf"]
    return min(files, key=lambda artefact: artefact.bytes, default=None)


def _home(model: Model | None) -> str | None:
    """The hub id of a model, or null where it has none."""
    if model is None:
        return None
    if model.name in _HOMES:
        return _HOMES[model.name][0]
    return model.name if model.source == "hub" else None


def _licence(model: Model | None) -> str | None:
    return _HOMES[model.name][1] if model is not None and model.name in _HOMES else None


def _title(report: Report) -> str:
    # By the task, not the recipe: the gsm8k recipe on a laptop trains on the starter task.
    student = report.models.student
    return f"{student.name.rsplit('/', 1)[-1] if student else 'student'}-{words.file_name(report)}"


def _header(report: Report) -> dict[str, Any]:
    header: dict[str, Any] = {}
    home, licence = _home(report.models.student), _licence(report.models.student)
    if home:
        header |= {"base_model": home, "base_model_relation": "finetune"}
    if licence:
        header["license"] = licence
    header |= {"library_name": "transformers", "pipeline_tag": "text-generation", "language": ["en"]}
    tags = ["arte", "distillation", report.task]
    header["tags"] = tags + (["gguf"] if _smallest_gguf(report) else [])
    results = []
    for metric in ("strict-match", "flexible-extract"):
        row = next(
            (row for row in report.accuracy
             if (row.arm, row.artefact, row.metric, row.slice) == (report.student_arm, "model", metric, "test")),
            None,
        )  # fmt: skip
        if row is not None:
            results.append({"type": "exact_match", "name": metric, "value": round(row.accuracy, 4)})
    lost = report.lost(report.student_arm or "")
    if lost is not None:
        results.append({"type": "loss", "name": "nats a token of gold replies", "value": round(lost.loss, 4)})
    if results:
        dataset = _DATASETS.get(report.task, {"type": report.task, "name": report.task})
        task = {"type": "text-generation"}
        header["model-index"] = [
            {"name": _title(report), "results": [{"task": task, "dataset": dict(dataset), "metrics": results}]}
        ]
    return header


def _method(report: Report) -> str:
    teacher = report.models.teacher.name if report.models.teacher else "the teacher"
    student = report.models.student.name if report.models.student else "the student"
    what = "instructions and replies" if report.losses else "problems and solutions"
    text = (
        "## How it was made\n\n"
        f"`{student}` was fine-tuned on {what} written by `{teacher}` with ARTE "
        "([arXiv 2406.19227](https://arxiv.org/abs/2406.19227)): the teacher drafts, the student's preference "
        f"among the drafts is measured by {_way(report)}, the teacher is aligned with it by DPO, and drafts again. "
        f"This is the student of the arm `{report.student_arm}`: "
        f"{words.ARM_MEANING.get(report.student_arm or '', 'an arm of the run')}."
    )
    if report.data:
        count = report.data.examples.get(report.student_arm or "")
        seeds = words.seeds_trained_on(report.data)
        drafts = (count or 0) - report.data.seeds * report.data.seed_copies
        trained = f" It was trained on {drafts:,} of them{f' and on {seeds}' if seeds else ''}." if count else ""
        text += (
            f"\n\n## Data\n\n{report.data.accepted:,} of {report.data.drafted:,} drafts were accepted; the others were "
            "unparsed, inconsistent, near-duplicates, or too close to a probe or test problem."
            f"{trained} The drafts are synthetic. Seed and test problems: {report.data_source or report.task}; "
            f"licence: {report.data_licence or 'not recorded'}."
        )
        known = [words.read(found) for found in report.data_read]
        known += [words.overlap(found) for found in report.overlaps if found.arm in (report.student_arm, "exercises")]
        text += "\n" + "".join(f"\n- {line}" for line in known) if known else ""
    return text


def _way(report: Report) -> str:
    """How the preference was measured."""
    score = str(report.settings["prefer"]["score"])
    if score.startswith("influence"):
        return "a step of training on each ([arXiv 2410.14208](https://arxiv.org/abs/2410.14208))"
    return "one-shot in-context learning" if score.startswith("icl_") else "how likely each is to it"


def _evaluation(report: Report) -> str:
    if report.losses:
        lines = [
            "## Evaluation\n",
            "Nats a token of the gold replies, mean over items; 95 % intervals by bootstrap over items.\n",
            "| arm | slice | items | loss | 95 % |",
            "|---|---|---:|---:|---:|",
            *(
                f"| {row.arm} | {words.slice_title(row.slice)} | {row.n:,} | {notation.nats(row.loss)} | "
                f"{notation.nats_interval(row.ci95)} |"
                for row in report.losses
            ),
        ]
        return "\n".join(lines)
    if not report.accuracy:
        return ""
    options = any(row.metric == "acc" for row in report.accuracy)
    told = " acc, acc_norm: the option that is the likeliest reply, and the likeliest a character." if options else ""
    lines = [
        "## Evaluation\n",
        f"Greedy answers, 95 % Wilson intervals.{told}\n",
        "| arm | artefact | slice | problems | strict-match | 95 % | flexible-extract |"
        + (" acc | acc_norm |" if options else ""),
        "|---|---|---|---:|---:|---:|---:|" + ("---:|---:|" if options else ""),
    ]
    for row in report.accuracy:
        if row.metric != "strict-match" or row.slice.startswith(words.OF_TASK):
            continue
        metrics: tuple[Metric, ...] = ("flexible-extract", "acc", "acc_norm") if options else ("flexible-extract",)
        others = [report.found(row.arm, row.artefact, metric, row.slice) for metric in metrics]
        lines.append(
            f"| {row.arm} | {_cell(row.artefact)} | {words.slice_title(row.slice)} | {row.n:,} | "
            f"{notation.percent(row.accuracy)} | {notation.interval(row.ci95)} | "
            + " ".join(f"{notation.percent(other.accuracy) if other else '–'} |" for other in others)
        )
    return "\n".join(lines + task_table.markdown(report) + [f"\n{note}" for note in words.file_notes(report)])


def _other_tasks(report: Report) -> str:
    if not report.lm_tasks:
        return ""
    lines = [
        "## Other tasks\n",
        "Tasks of lm-eval that nothing was trained for, with their standard errors; changes from the untrained student "
        "are paired by document, with 95 % intervals.\n",
        "| task | metric | documents | arm | score | change |",
        "|---|---|---:|---|---:|---:|",
    ]
    sources = dict.fromkeys(f"{row.task}: {row.source}" for row in report.lm_tasks if row.source)
    for row in report.lm_tasks:
        if row.arm in ("untrained", report.student_arm):
            lines.append(
                f"| {_cell(row.task)} | {_cell(row.title.removeprefix(f'{row.task}, '))} | {row.n:,} | {row.arm} | "
                f"{notation.with_error(row.value, row.standard_error)} | "
                f"{notation.change(row.change, row.change_ci95)} |"
            )
    return "\n".join([*lines, *([f"\nData: {'; '.join(sources)}."] if sources else [])])


def _files(report: Report) -> str:
    if not report.artefacts:
        return ""
    lines = ["## Files\n", "| file | format | size | decode tok/s | SHA-256 |", "|---|---|---:|---:|---|"]
    for artefact in report.artefacts:
        measured = report.measured(artefact.file)
        lines.append(
            f"| {_cell(artefact.file)} | {artefact.format} {artefact.scheme} | {notation.size(artefact.bytes)} | "
            f"{notation.spread(measured.tg_tok_s if measured else None)} | {artefact.sha256 or '–'} |"
        )
    cpu = report.machine.cpu if report.machine else None
    return "\n".join(lines) + (f"\n\nSpeeds on {cpu}: median, range in brackets." if cpu else "")


def _usage(report: Report) -> str:
    files = [usage.File(f"export/{artefact.file}", artefact.format) for artefact in report.artefacts]
    files.sort(key=lambda file: file.format != "gguf" or file.path != f"export/{_smallest(report)}")
    return usage.how_to_run(
        files,
        f"distill/{report.student_arm}/model",
        words.file_name(report),
        "Modelfile" if _smallest(report) else None,
    )


def _smallest(report: Report) -> str | None:
    found = _smallest_gguf(report)
    return None if found is None else found.file


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
