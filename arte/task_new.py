"""`arte task new NAME`: a task's folder to start from, which runs as it is."""

import json
from pathlib import Path

from arte import atomic, disk
from arte.errors import WorkspaceError

TASK = """\
# What the task is. `arte task check FOLDER` shows the prompts that come of it, and what is to be mended.
about: Support tickets to the team that answers them.
licence: yours to say
things: short messages that customers write to a web shop's support # the teacher is asked for new ones of these
instruction: "Name the team that answers this message: billing, shipping, returns or account."
data: {seeds: seeds.jsonl, validation: validation.jsonl, test: test.jsonl} # or .csv, .tsv, .parquet; or hub: ORG/NAME
fields: {input: message, answer: team} # with worked solutions in a column of their own: rationale: COLUMN
answer:
  kind: choice # exact, number, choice, regex (pattern), json (schema, fields), or python (file)
  choices: [billing, shipping, returns, account]
"""
RECIPE = """\
# arte recipe {folder}/recipe.yaml      any setting can be changed on the command line: elicit.questions=500
about: {name}
task: {{name: ., seeds: 8, probes: 8}} # this folder; more seeds and probes as you add items

scales:
  starter:
    teacher: {{name: qwen2.5-coder-0.5b-instruct, drafts_in: int8}}
    student: {{name: smollm2-135m-instruct}}
    elicit:
      questions: 60
      seeds_per_prompt: 4
      questions_per_prompt: 5
      styles: [brief]
      explained: null
      temperature: 0.7
      question_tokens: 400
      rationale_tokens: 64
      batch_size: 80
    prefer: {{drafts: 48, question_pairs: 3, rationale_pairs: 0, batch_size: 8}}
    align: {{learning_rate: 5e-5, batch_size: 2, micro_batch_size: 1}}
    tailor: {{rationales: 0}}
    distill: {{examples: 40, learning_rate: 1e-4, warmup: 0.1, epochs: 3, batch_tokens: 512}}
    evaluate: {{max_tokens: 64}}
    export: {{test: null}}

  gpu:
    teacher: {{name: Qwen/Qwen2.5-7B-Instruct}}
    student: {{name: Qwen/Qwen2.5-0.5B}}
    elicit: {{questions: 1000, styles: [brief]}}
    prefer: {{rationale_pairs: 0}}
    align: {{micro_batch_size: 1, gradient_checkpointing: true}} # to fit 24 GB
    distill: {{examples: 1000}}
    evaluate: {{max_tokens: 64}}
    export: {{test: null}}
"""
ITEMS = {
    "billing": (
        "I was charged twice for the same order last week.",
        "Why is there a fee of 3 euros on my invoice?",
        "Can you send the receipt for my purchase in May to my company?",
        "My card was declined, but the money is gone.",
        "The discount code was not taken off the total.",
        "I want to pay by bank transfer next time.",
    ),
    "shipping": (
        "My parcel has not moved for five days.",
        "Can you deliver to a packing station instead of my home?",
        "The courier left the box in the rain.",
        "When will the blue kettle arrive?",
        "I moved house yesterday, please send it to the new street.",
        "The tracking number you gave me does not exist.",
    ),
    "returns": (
        "The shoes are too small, how do I send them back?",
        "The lamp arrived broken, I would like another one.",
        "How long do I have to return a gift?",
        "I sent the jacket back two weeks ago and heard nothing.",
        "There is a scratch on the table, can I swap it?",
        "Where do I print the label for sending this back?",
    ),
    "account": (
        "I cannot log in since I changed my phone.",
        "Please delete everything that you know about me.",
        "How do I change the email address that I use here?",
        "The link for a new password never comes.",
        "Someone else has ordered with my name.",
        "I want to stop the newsletter.",
    ),
}
"""Six messages a team: two for each split."""


def new(name: str) -> Path:
    """Writes the folder. Raises WorkspaceError where something of that name is there, or it cannot be written."""
    folder = Path(name)
    if folder.exists():
        raise WorkspaceError(f"{folder}: is there already; choose another name")
    with disk.errors_for(folder):
        disk.make(folder)
        atomic.replace_text(folder / "task.yaml", TASK)
        atomic.replace_text(folder / "recipe.yaml", RECIPE.format(folder=folder.as_posix(), name=folder.name))
        for place, split in enumerate(("seeds", "validation", "test")):
            rows = [
                {"message": message, "team": team}
                for turn in range(2)
                for team, messages in ITEMS.items()
                for message in [messages[2 * place + turn]]
            ]
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            atomic.replace_text(folder / f"{split}.jsonl", text)
    return folder
