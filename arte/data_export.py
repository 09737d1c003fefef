"""`arte data RUN`: what a run made its students and its teacher learn from, as others can use it.

A folder as the hub takes it: JSONL files in TRL's conversational forms (prompt and completion for SFT; prompt, chosen
and rejected for DPO), and a dataset card with where all of it comes from and what was checked.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from arte import arms, atomic, config, disk, tasks
from arte.errors import WorkspaceError
from arte.recipe import Arm, Recipe
from arte.report import words
from arte.rows import Example, Pair, Question, Rationale, read_rows
from arte.stages import overlap
from arte.stages.conversations import conversations, preferences
from arte.tasks import Splits, Taught, located

CARD = "README.md"


def export(run: Path, out: Path) -> list[str]:
    """Writes the folder and gives its files with their rows, for the terminal.

    Raises WorkspaceError where `run` is no run with trained students, or `out` is there already.
    """
    if not (run / "recipe.yaml").is_file():
        raise WorkspaceError(f"{run}: holds no recipe.yaml; expected a run folder that `arte recipe` made")
    if out.exists():
        raise WorkspaceError(f"{out}: is there already; name a new folder with --out")
    recipe = config.load_saved(run / "recipe.yaml")
    task = tasks.taught(recipe.task.name)
    examples = {
        arm: read_rows(run / "distill" / arm / "examples.jsonl", Example)
        for arm in arms.trained(recipe.arms)
        if (run / "distill" / arm / "examples.jsonl").is_file()
    }
    if not examples:
        raise WorkspaceError(f"{run}: has trained no student yet; run the recipe to its stage distill first")
    pairs = read_rows(run / "prefer" / "pairs.jsonl", Pair) if (run / "prefer" / "pairs.jsonl").is_file() else []
    rows = {f"sft-{arm}": conversations(those, task) for arm, those in examples.items()}
    if pairs:
        rows["preference"] = preferences(pairs)
    with disk.errors_for(out):
        disk.make(out / "data")
        for name, those in rows.items():
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in those)
            atomic.replace_text(out / "data" / f"{name}.jsonl", text)
        atomic.replace_text(out / CARD, card(recipe, task, run, examples, rows))
    return [f"{out / 'data' / f'{name}.jsonl'}: {len(those)} rows" for name, those in rows.items()] + [str(out / CARD)]


def card(
    recipe: Recipe,
    task: Taught,
    run: Path,
    examples: dict[Arm, list[Example]],
    rows: dict[str, list[dict[str, Any]]],
) -> str:
    """The dataset card: the hub's front matter, then where the rows are from and what is known of them."""
    shipped = f"sft-{[*examples][-1]}"
    header = {
        "pretty_name": f"ARTE: drafts for {task.name}",
        "task_categories": ["text-generation"],
        "language": ["en"],
        "tags": ["arte", "synthetic", "distillation", *(["dpo"] if "preference" in rows else [])],
        "size_categories": [_size(sum(map(len, rows.values())))],
        "configs": [
            {"config_name": name, "data_files": f"data/{name}.jsonl", **({"default": True} if name == shipped else {})}
            for name in rows
        ],
    }
    with located.noted() as read:
        splits = task.splits(recipe.task, recipe.seed)
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# Drafts of {recipe.teacher.name} for {recipe.student.name}, task {task.name}",
        "",
        f"{task.about} Written by `{recipe.teacher.name}` and tailored to `{recipe.student.name}` with ARTE "
        "([arXiv 2406.19227](https://arxiv.org/abs/2406.19227)); synthetic, but for the seeds.",
        "",
        "| file | rows | form | what |",
        "|---|---|---|---|",
        *(_row(name, those, recipe) for name, those in rows.items()),
        "",
        "## Where it comes from",
        "",
        f"- Seeds, probes and tests: {task.data_source}; licence: {task.licence}.",
        *(f"- Read: {words.read(found)}." for found in read),
        f"- The teacher's own licence says what its output may be used for: `{recipe.teacher.name}`.",
        f"- Recipe `{recipe.name}`, scale {recipe.scale}, seed {recipe.seed}.",
        "",
        "## What was checked",
        "",
        *_checked(run, examples, splits, recipe),
        "",
        "A draft that passed may still be wrong. What each check found in this run is in its `elicit/` and `tailor/`.",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, rows: Sequence[object], recipe: Recipe) -> str:
    from arte.report.words import ARM_MEANING

    if name == "preference":
        what = f"pairs of drafts of which the student prefers one, by {recipe.prefer.score}"
        return f"| `data/{name}.jsonl` | {len(rows)} | TRL: prompt, chosen, rejected | {what} |"
    what = ARM_MEANING.get(name.removeprefix("sft-"), "an arm of the run")
    return f"| `data/{name}.jsonl` | {len(rows)} | TRL: prompt, completion | {what} |"


def _checked(run: Path, examples: dict[Arm, list[Example]], splits: Splits, recipe: Recipe) -> list[str]:
    """Why drafts fell, and how many examples of an arm share a run of words with a held-out item."""
    out = []
    for stage in ("elicit", "tailor"):
        if not (run / stage / "questions.jsonl").is_file():
            continue
        questions = read_rows(run / stage / "questions.jsonl", Question)
        rationales = read_rows(run / stage / "rationales.jsonl", Rationale)
        why = Counter([row.check.reason for row in questions] + [row.check.reason for row in rationales])
        del why[None]
        kept = sum(row.check.accepted for row in questions)
        fell = ", ".join(f"{count} {reason}" for reason, count in why.most_common()) or "none"
        out.append(f"- `{stage}`: {kept} of {len(questions)} questions passed; drafts that fell: {fell}.")
    held_out = {"probes": splits.probes, "test": splits.test, "unseen": splits.unseen}
    found = overlap.measure(
        {f"`sft-{arm}`": those for arm, those in examples.items()},
        {name: overlap.items_of(items) for name, items in held_out.items() if items},
        splits.seeds,
        recipe.elicit.contamination_words,
    )
    return out + [f"- {words.overlap(each)}" for each in found]


def _size(rows: int) -> str:
    """The hub's size category."""
    return "n<1K" if rows < 1_000 else "1K<n<10K" if rows < 10_000 else "10K<n<100K" if rows < 100_000 else "100K<n<1M"
