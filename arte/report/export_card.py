"""MODEL_CARD.md of `arte export`: what the files are, how far they are from the torch model, how to run them.

The hub's model card format: YAML front matter, then Markdown. A run's own card (card.py) tells of method and data too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arte.report import parity_table, usage, words

if TYPE_CHECKING:
    from arte_export.metadata import Metadata

    from arte.tasks.located import Read
    from arte.tasks.task import Taught


def card(
    metadata: "Metadata",
    files: Sequence[dict[str, Any]],
    model: str,
    modelfile: str | None,
    task: "Taught",
    read: Sequence["Read"],
) -> str:
    """The page for the entries of parity.json. `model` is the torch model, as the user named it; `read` is the data of
    the task."""
    import yaml

    source = metadata.base_models[0] if metadata.base_models else None
    home = None if source is None else "/".join(filter(None, (source.organization, source.name)))
    header: dict[str, Any] = {}
    if home is not None:
        header |= {"base_model": home, "base_model_relation": "quantized"}
    if metadata.license:
        header["license"] = metadata.license
    formats = list(dict.fromkeys(file["format"].split("-")[0] for file in files))
    header |= {"pipeline_tag": "text-generation", "tags": ["arte", *formats]}
    results = _results(files)
    if results:
        header["model-index"] = [{"name": metadata.name, "results": results}]
    sections = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---",
        f"# {metadata.name}: device files",
        f"Made with ARTE from `{model}`{f', whose base is `{home}`' if home else ''}. "
        + (f"Licence: {metadata.license}." if metadata.license else "The licence of the model applies."),
        "## Files and parity\n\n" + parity_table.markdown(files),
        parity_table.LEGEND,
        _calibration(files),
        _evaluation(files, task, read),
        usage.how_to_run(
            [usage.File(file["file"], file["format"]) for file in files], model, _tag(metadata), modelfile
        ),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _tag(metadata: "Metadata") -> str:
    return "-".join(filter(None, (metadata.basename, metadata.size_label))).lower()


def _results(files: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model-index: strict and flexible match of every file that was asked the task."""
    return [
        {
            "task": {"type": "text-generation"},
            "dataset": {"type": accuracy["task"], "name": accuracy["task"]},
            "metrics": [
                {"type": "exact_match", "name": f"{metric} ({file['file']})", "value": round(accuracy[key], 4)}
                for metric, key in (("strict-match", "file"), ("flexible-extract", "file_flexible"))
            ],
        }
        for file in files
        if (accuracy := file["parity"]["task_accuracy"]) is not None
    ]


def _evaluation(files: Sequence[dict[str, Any]], task: "Taught", read: Sequence["Read"]) -> str:
    found = [(file, file["parity"]["task_accuracy"]) for file in files if file["parity"]["task_accuracy"]]
    if not found:
        return ""
    first = found[0][1]
    lines = [
        "## Evaluation\n",
        f"Greedy answers to the same {first['n']} problems of the task {first['task']}, through lm-eval; difference to "
        "the torch model in points, paired, 95 % interval.\n",
        "| model | strict-match | flexible-extract | difference, strict |",
        "|---|---:|---:|---:|",
        f"| torch, float32 | {first['model']:.1%} | {first['model_flexible']:.1%} | |",
    ]
    for file, accuracy in found:
        low, high = (100 * bound for bound in accuracy["ci95"])
        lines.append(
            f"| {file['file']} | {accuracy['file']:.1%} | {accuracy['file_flexible']:.1%} | "
            f"{100 * accuracy['difference']:+.1f} ({low:+.1f} to {high:+.1f}) |"
        )
    lines.append(f"\nData: {task.data_source}; licence: {task.licence}.")
    return "\n".join(lines + [f"\n- {words.read(found)}" for found in read])


def _calibration(files: Sequence[dict[str, Any]]) -> str:
    found = [file["calibration"] for file in files if file["calibration"] is not None]
    if not found:
        return ""
    lines = [
        "## What calibration brought\n",
        "Mean KL divergence to the torch model (nats, standard error) on task text that no matrix saw, with the scheme "
        "quantised by no importance matrix, by one of generic text, and by one of the model's own task.\n",
        "| scheme | none | generic | own | shipped |",
        "|---|---:|---:|---:|---|",
    ]
    for each in found:
        shown = " | ".join(_kld(each[name]) for name in ("none", "generic", "own"))
        lines.append(f"| {each['scheme']} | {shown} | {each['shipped']} |")
    return "\n".join(lines)


def _kld(found: dict[str, Any] | None) -> str:
    return "–" if found is None else f"{found['mean_kld']['value']:.5f} ± {found['mean_kld']['standard_error']:.5f}"
