"""The table of arms: python benchmarks/arms_page.py FOLDER SEED…

Runs `arte recipe gsm8k` with SETTINGS for each seed in FOLDER/seed-N, where it is not yet, one after another, and keeps
what a comparison needs in docs/arms/seed-N: the recipe, and of every answer whether it was right (`arte compare
docs/arms` reads it). Then writes docs/arms.md about all seeds that are there; seeds may be run on several days.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from arte import machine, tasks
from arte.arms import drafts_folder, stage_name
from arte.arms import teachers as teachers_of
from arte.config import load_saved
from arte.generation.chat import chat_text
from arte.rows import Pair, Question, Rationale, read_rows
from arte.run_models import RunModels
from arte.stages.evaluate import Sample
from arte.tasks.task import Draft

SETTINGS = (
    "arms=[untrained,unaligned,verified,fixed_style,best_scored,covered,shuffled_pairs,arte]",
    "task.probes=24",
    "elicit.questions=160", "elicit.questions_per_prompt=3", "elicit.batch_size=96",
    "elicit.styles=[steps]", "elicit.explained=null",
    "prefer.drafts=null", "prefer.evaluations=0.34", "prefer.chosen=covered", "prefer.question_pairs=32",
    "tailor.rationales=1", "tailor.choose=covered",
    "distill.seeds=0", "distill.examples=48", "distill.variants=8", "distill.epochs=1",
    "distill.exercises=12000", "distill.rehearsed=1000",
)  # fmt: skip
LISTS = 12
"""Lists of questions along which two teachers are compared."""
TEACHERS = {"elicit": "as it came", "tailor": "arte"}
KEPT = Path(__file__).parents[1] / "docs" / "arms"
HEAD = """# What made the difference: arms of the starter task

Qwen2.5-Coder-0.5B-Instruct drafts, SmolLM2-135M-Instruct learns. Made by `python benchmarks/arms_page.py FOLDER
{seeds}`, which is, for each seed,

```
arte recipe gsm8k --scale starter --until evaluate --out FOLDER/seed-N \\
  seed=N {settings}
```

No setting was chosen by these seeds or test items: LOG.md says what was tried, on another seed and other problems.
What each arm is: [README](../README.md#arms-what-made-the-difference).

```
{table}
```

`arte compare docs/arms` prints this table from the answers that are kept there.

## What the teachers drafted

Accepted: questions with a solution that passed the checks. Steps: equations in the solutions of accepted drafts. KL: of
the aligned teacher from the original one, along twelve lists that the aligned one drafted. All are means over seeds.

{drafts}
"""


def main() -> None:
    """Runs what is missing, then writes the page."""
    folder, seeds = Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    for seed in seeds:
        kept = KEPT / f"seed-{seed}"
        if not kept.is_dir():
            run = folder / f"seed-{seed}"
            command = ["arte", "recipe", "gsm8k", "--scale", "starter", "--until", "evaluate", "--out", str(run)]
            subprocess.run(
                [str(Path(sys.executable).with_name(command[0])), *command[1:], f"seed={seed}", *SETTINGS], check=True
            )
            keep(run, kept)
    there = sorted(int(path.name.partition("-")[2]) for path in KEPT.glob("seed-*"))
    arte = str(Path(sys.executable).with_name("arte"))
    table = subprocess.run([arte, "compare", str(KEPT)], check=True, capture_output=True, text=True).stdout.strip()
    settings = " \\\n  ".join(f'"{setting}"' if "[" in setting else setting for setting in SETTINGS)
    told = [json.loads((KEPT / f"seed-{seed}" / "drafts.json").read_text(encoding="utf-8")) for seed in there]
    page = HEAD.format(
        seeds=" ".join(map(str, there)), settings=settings, table=table, drafts="\n".join(drafts_table(told))
    )
    (KEPT.parent / "arms.md").write_text(page, encoding="utf-8")


def keep(run: Path, kept: Path) -> None:
    """What a comparison needs of a run: no text of a model."""
    partial = kept.with_name(kept.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for arm in sorted((run / "evaluate").iterdir()):
        (partial / "evaluate" / arm.name).mkdir(parents=True)
        rows = [row.model_copy(update={"text": ""}) for row in read_rows(arm / "samples.jsonl", Sample)]
        text = "".join(row.model_dump_json() + "\n" for row in rows)
        (partial / "evaluate" / arm.name / "samples.jsonl").write_text(text, encoding="utf-8")
    shutil.copy(run / "recipe.yaml", partial)
    (partial / "drafts.json").write_text(json.dumps(told_of(run), indent=1), encoding="utf-8")
    partial.rename(kept)


def told_of(run: Path) -> dict[str, Any]:
    """Figures of a run's drafts, pairs and stages."""
    teachers: dict[str, dict[str, Any]] = {}
    aligned = {
        drafts_folder(arm, 1): stage_name("align", arm, "arte") for arm in teachers_of(load_saved(run / "recipe.yaml"))
    }
    for name in ("elicit", *aligned):
        rationales = [row for row in read_rows(run / name / "rationales.jsonl", Rationale) if row.check.accepted]
        steps = Counter(min(4, row.text.count("=")) for row in rationales)
        teachers[name] = {
            "questions": len(read_rows(run / name / "questions.jsonl", Question)),
            "accepted": len({row.question_id for row in rationales}),
            "steps": {str(count): steps[count] for count in sorted(steps)},
            "kl": 0.0 if name == "elicit" else kl(run, aligned[name], name),
        }
    pairs = Counter(pair.level for pair in read_rows(run / "prefer" / "pairs.jsonl", Pair))
    losses = {}
    for name in aligned.values():
        rows = [json.loads(line) for line in (run / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        losses[name] = [row["loss"] for row in rows if "loss" in row]
    records = {path.parent.relative_to(run).as_posix(): path for path in sorted(run.rglob("stage.json"))}
    seconds = {name: json.loads(path.read_text(encoding="utf-8"))["seconds"] for name, path in records.items()}
    return {"teachers": teachers, "pairs": dict(pairs), "losses": losses, "seconds": seconds}


@torch.inference_mode()
def kl(run: Path, align: str, tailor: str) -> float:
    """Mean over the tokens of LISTS drafted lists of KL(aligned, original), in nats, over the whole vocabulary.

    The lists are what the stage `tailor` accepted under a prompt, written as the teacher writes them; the distributions
    are those of temperature 1.
    """
    from peft import PeftModel

    recipe = load_saved(run / "recipe.yaml")
    models, task = RunModels(recipe), tasks.load(recipe.task.name)
    assert models.teacher is not None
    model, tokenizer = models.load(models.teacher.path, models.dtype)
    model = PeftModel.from_pretrained(model, run / align / "adapter")
    lists: dict[str, list[Draft]] = defaultdict(list)
    for row in read_rows(run / tailor / "questions.jsonl", Question):
        if row.check.accepted:
            lists[row.prompt].append(Draft(row.text, row.solution, row.target))
    total = tokens = 0.0
    for prompt, drafts in list(lists.items())[:LISTS]:
        messages = json.loads(prompt)
        before = chat_text(tokenizer, messages)
        reply = task.question_reply(messages, drafts)[len(messages[-1]["content"]) :]
        shown, drafted = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, reply))
        ids = torch.tensor([shown + drafted], device=machine.device())
        keep = len(drafted) + 1
        moved = torch.log_softmax(model(ids, logits_to_keep=keep).logits[0, :-1].float(), dim=-1)
        with model.disable_adapter():
            original = torch.log_softmax(model(ids, logits_to_keep=keep).logits[0, :-1].float(), dim=-1)
        total += float((moved.exp() * (moved - original)).sum())
        tokens += len(drafted)
    return total / tokens


def drafts_table(told: list[dict[str, Any]]) -> list[str]:
    """Of each teacher, mean over the seeds."""
    out = [
        "| teacher | KL, nats a token | drafted | accepted | 1 step | 2 steps | 3 or more |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in told[0]["teachers"]:
        title = TEACHERS.get(name, name.removeprefix("tailor-"))
        those = [each["teachers"][name] for each in told]
        counts = [[each["steps"].get(str(step), 0) for step in (1, 2, 3, 4)] for each in those]
        shares = [[one / sum(row), two / sum(row), (three + more) / sum(row)]
                  for row in counts for one, two, three, more in [row]]  # fmt: skip
        means = [f"{fmean(row[place] for row in shares):.0%}" for place in range(3)]
        moved, drafted, accepted = (fmean(each[key] for each in those) for key in ("kl", "questions", "accepted"))
        out.append(f"| {title} | {moved:.3f} | {drafted:.0f} | {accepted:.0f} | {' | '.join(means)} |")
    return out


if __name__ == "__main__":
    main()
