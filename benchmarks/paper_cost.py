"""What the paper's whole run on BIG-Bench Hard takes, by arithmetic: python benchmarks/paper_cost.py

Counts are the paper's (arXiv 2406.19227, sections 3 and 4): 23 tasks, 250 questions with 4 rationales each, 40 probes,
300 pairs a task, Llama-3-70B and Gemma-2B on 8 A100 80GB. Lengths and shares of the peak are assumptions, stated
below; the paper itself says "about 1 day in total". Prints a table in Markdown, which docs/engines.md holds.
"""

from typing import NamedTuple

GPUS = 8
PEAK_FLOPS, BANDWIDTH = 312e12, 2.039e12
"""Of an A100 80GB SXM: bfloat16 products, bytes a second (NVIDIA's data sheet)."""
PRODUCTS, READING = 0.4, 0.6
"""Shares of those that a good engine reaches."""
TEACHER, STUDENT = 70.6e9, 2.51e9
"""Parameters of Llama-3-70B and Gemma-2B, as their configurations give them."""
TASKS, QUESTIONS, RATIONALES, PROBES, PAIRS = 23, 250, 4, 40, 300
TAILORED = 6750
QUESTION, RATIONALE, INSTRUCTION = 120, 180, 100
"""Tokens: BBH questions are longer than GSM8K's, and its solutions are chains of thought."""
SEQUENCES = 256
"""Decoded together."""


class Step(NamedTuple):
    """Tokens that are read, drawn and trained on, and the parameters that do it. Floating-point operations a token and
    parameter: 2 in a forward pass, `passes` in training (6, and 2 more for DPO's reference)."""

    name: str
    read: float
    drawn: float
    trained: float
    parameters: float
    passes: int = 6

    @property
    def gpu_hours(self) -> float:
        """Of all GPUs together, each of which holds a share of the weights or a copy."""
        products = 2 * self.parameters * (self.read + self.drawn) + self.passes * self.parameters * self.trained
        computing = products / (PEAK_FLOPS * PRODUCTS)
        # Every step of decoding reads the weights once for all sequences.
        reading = self.drawn / SEQUENCES * 2 * self.parameters / (BANDWIDTH * READING)
        return (computing + reading) / 3600


def steps() -> list[Step]:
    """Of the whole run. A probe behind a draft shares the draft's start, which is read once for its forty probes."""
    drafts = TASKS * QUESTIONS * RATIONALES
    evaluations = drafts * PROBES
    prompts = TASKS * QUESTIONS / 5
    seeds = 3 * (QUESTION + RATIONALE)
    pairs = TASKS * PAIRS
    return [
        Step(
            "elicit",
            prompts * (INSTRUCTION + seeds) + drafts * (INSTRUCTION + QUESTION),
            TASKS * QUESTIONS * QUESTION + drafts * RATIONALE,
            0,
            TEACHER,
        ),
        Step("prefer", drafts * (QUESTION + RATIONALE) + evaluations * QUESTION, evaluations * RATIONALE, 0, STUDENT),
        Step("align", 0, 0, 2 * pairs * (INSTRUCTION + QUESTION + RATIONALE), TEACHER, 8),
        Step("tailor", TAILORED * (INSTRUCTION + QUESTION), TAILORED * (QUESTION + RATIONALE), 0, TEACHER),
        Step("distill", 0, 0, TAILORED * (QUESTION + RATIONALE), STUDENT),
    ]


def table() -> list[str]:
    """In Markdown."""
    rows = ["| stage | tokens read | tokens drawn | tokens trained on | GPU hours |", "|---|--:|--:|--:|--:|"]
    for step in steps():
        million = (f"{tokens / 1e6:,.1f} M" if tokens else "–" for tokens in (step.read, step.drawn, step.trained))
        rows.append(f"| {step.name} | {' | '.join(million)} | {step.gpu_hours:.1f} |")
    hours = sum(step.gpu_hours for step in steps())
    rows.append(f"| all | | | | {hours:.1f} ({hours / GPUS:.1f} hours on {GPUS}) |")
    return rows


if __name__ == "__main__":
    drafts = TASKS * QUESTIONS * RATIONALES
    print(f"{drafts:,} drafts × {PROBES} probes = {drafts * PROBES:,} evaluations\n")  # noqa: T201
    print("\n".join(table()))  # noqa: T201
