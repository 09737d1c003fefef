"""`arte judge RUN`: a judge compares the replies of two arms to the test items of a task with open answers.

Judges prefer what they are shown first (or last), and longer replies (arXiv 2306.05685, section 3.3). So each pair of
replies is shown in both orders, and a verdict counts only where both agree; how often the judge took the first is told.
Two equal replies are a tie, and nobody is asked. The judge is any server of OpenAI's protocol; its answers are kept as
they come, and the same command asks for none of them again.
"""

import re
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from arte import arms, config, disk, tasks
from arte.atomic import replace_text
from arte.errors import DataError, EngineError, WorkspaceError
from arte.generation import Message, Prompt
from arte.recipe import Arm
from arte.recipe_engines import Server
from arte.report.statistics import paired_bootstrap
from arte.rows import Row, read_rows, write_rows
from arte.stages.held_out_loss import OpenSample

FOLDER = "judge"
TOKENS = 512
"""Of a verdict, with the reasons that come before it."""
ASKED = (
    "Two assistants, 1 and 2, replied to the same request. Decide which reply serves the person who asked better: "
    "right, to the point and complete counts; length, style and the order in which they are shown do not. Give your "
    "reasons in two or three sentences. Then end with one line of these: Verdict: 1, Verdict: 2, Verdict: tie."
)
_VERDICT = re.compile(r"verdict\W{1,8}(?:reply |assistant )?(1|2|tie)\b", re.I)
# What the engine calls its settings, as this command takes them.
_OPTIONS = {
    "teacher.server.url": "--server",
    "teacher.server.key_variable": "--key-variable",
    "teacher.name": "--model",
    "teacher.server.": "",
}

Said = Literal["1", "2", "tie"]
Side = Literal["a", "b", "tie"]


_SWAPPED: dict[Side | None, Side | None] = {"a": "b", "b": "a", "tie": "tie", None: None}


class Judgement(Row):
    """One test item. `a_first` and `b_first`: which arm's reply the judge preferred when that arm's was shown first;
    None where its answer held no verdict."""

    id: str
    question: str
    a: str
    b: str
    a_first: Side | None
    b_first: Side | None
    verdict: Side | None
    """What both orders say; None where they disagree."""


class Judged(BaseModel):
    """Arm a against arm b: items won, tied, lost by a, and those on which the two orders disagree.

    `difference` is (win - loss) / n, with a 95 % interval by bootstrap over items. `first` and `second`: answers that
    preferred the reply shown first, and second. `unread`: answers without a verdict.
    """

    a: str
    b: str
    judge: str
    n: int
    win: int
    tie: int
    loss: int
    undecided: int
    difference: float
    ci95: tuple[float, float]
    p: float
    first: int
    second: int
    unread: int
    tokens_in: int
    tokens_out: int


def judge(run: Path, a: str | None, b: str | None, model: str, server: Server, most: int | None = None) -> Judged:
    """Compares two arms on all test items, or the first `most`; writes verdicts.jsonl and judged.json in judge/A-B.

    Without names: the arm that is shipped, against its control. Raises WorkspaceError (no run, an arm that was not
    evaluated, answers that are right or wrong), DataError, EngineError.
    """
    for package in ("openai", "tenacity"):
        if find_spec(package) is None:
            raise EngineError(f"arte judge: needs the package {package}: pip install 'arte[openai]'")
    from arte.generation.kept_answers import KeptAnswers
    from arte.generation.openai import OpenAIEngine
    from arte.generation.served import Served

    a, b = _arms(run, a, b)
    pairs = _paired(run, a, b)[:most]
    folder = run / FOLDER / f"{a}-{b}"
    with disk.errors_for(folder):
        disk.make(folder)
        try:
            served = Served.look(model, server)
            engine = OpenAIEngine(served, server, KeptAnswers(folder / "answers.jsonl"))
            asked = [
                Prompt(engine.render(chat(ours.question, *texts)))
                for ours, theirs in pairs
                if ours.text != theirs.text
                for texts in ((ours.text, theirs.text), (theirs.text, ours.text))
            ]
            answers = engine.generate(asked, max_tokens=TOKENS, temperature=0.0)
        except EngineError as error:
            raise EngineError(_in_options(str(error))) from error
        read = iter([verdict(answer.text) for answer in answers])
        rows = [
            judged(ours, theirs, None if ours.text == theirs.text else (next(read), next(read)))
            for ours, theirs in pairs
        ]
        tokens = sum(answer.tokens_in for answer in answers), sum(answer.tokens_out for answer in answers)
        found = counted(rows, a, b, model, tokens)
        write_rows(folder / "verdicts.jsonl", rows)
        replace_text(folder / "judged.json", found.model_dump_json(indent=2) + "\n")
    return found


def chat(question: str, first: str, second: str) -> list[Message]:
    """What the judge is asked about two replies, in this order."""
    shown = f"[Request]\n{question}\n\n[Reply of 1]\n{first}\n\n[Reply of 2]\n{second}\n\n[End of the replies]"
    return [{"role": "system", "content": ASKED}, {"role": "user", "content": shown}]


def verdict(text: str) -> Said | None:
    """The last verdict of a judge's answer; None where there is none."""
    found = [match.lower() for match in _VERDICT.findall(text)]
    last = found[-1] if found else None
    return last if last in ("1", "2", "tie") else None


def judged(ours: OpenSample, theirs: OpenSample, said: tuple[Said | None, Said | None] | None) -> Judgement:
    """What the judge said where a's reply came first, and where b's did; None: it was not asked, as they are equal."""
    a_first: Side | None = "tie"
    b_first: Side | None = "tie"
    if said is not None:
        a_first, b_first = _side(said[0], "a", "b"), _side(said[1], "b", "a")
    return Judgement(
        id=ours.id,
        question=ours.question,
        a=ours.text,
        b=theirs.text,
        a_first=a_first,
        b_first=b_first,
        verdict=a_first if a_first == b_first else None,
    )


def counted(rows: Sequence[Judgement], a: str, b: str, model: str, tokens: tuple[int, int]) -> Judged:
    """The figures of the judgements, of which there is at least one."""
    sides = Counter(row.verdict for row in rows)
    found = paired_bootstrap([row.verdict == "a" for row in rows], [row.verdict == "b" for row in rows])
    assert found is not None
    asked = [row for row in rows if row.a != row.b]
    said = Counter(side for row in asked for side in (row.a_first, _SWAPPED[row.b_first]))
    return Judged(
        a=a,
        b=b,
        judge=model,
        n=len(rows),
        win=sides["a"],
        tie=sides["tie"],
        loss=sides["b"],
        undecided=sides[None],
        difference=found.difference,
        ci95=found.ci95,
        p=found.p,
        first=said["a"],
        second=said["b"],
        unread=said[None],
        tokens_in=tokens[0],
        tokens_out=tokens[1],
    )


def lines(found: Judged) -> list[str]:
    """For the terminal."""
    from arte.report.notation import interval, points

    asked = found.first + found.second
    out = [
        f"{found.a} against {found.b} on {found.n} test items, by {found.judge} in both orders:",
        f"  {found.win} won, {found.tie} tied, {found.loss} lost, {found.undecided} undecided (the orders disagree)",
        f"  won less lost: {points(found.difference)} of all items (95 % interval {interval(found.ci95)}, "
        f"p {found.p:.4f})",
    ]
    if asked:
        out.append(f"  of {asked} answers that preferred a reply, {found.first} took the one shown first")
    if found.unread:
        out.append(f"  {found.unread} answers held no verdict, and their items are undecided")
    low, high = found.ci95
    if low <= 0 <= high:
        out.append(f"open: which of {found.a} and {found.b} the judge prefers")
    else:
        better, worse = (found.a, found.b) if low > 0 else (found.b, found.a)
        out.append(f"shown: the judge prefers {better} to {worse}")
    return out


def _arms(run: Path, a: str | None, b: str | None) -> tuple[str, str]:
    if not (run / "recipe.yaml").is_file():
        raise WorkspaceError(f"{run}: holds no recipe.yaml, so it is no run folder; expected one of `arte recipe`")
    recipe = config.load_saved(run / "recipe.yaml")
    if not tasks.taught(recipe.task.name).open_ended:
        raise WorkspaceError(
            f"{run}: answers of {tasks.called(recipe.task.name)} are right or wrong and need no judge; see "
            f"`arte compare {run}`"
        )
    there = arms.in_order([arm for arm in recipe.arms if (run / "evaluate" / arm / "samples.jsonl").is_file()])
    first = a or (there[-1] if there else None)
    others: list[Arm] = [arm for arm in there if arm != first]
    second = b or arms.control(others) or (others[0] if others else None)
    for name in (first, second):
        if name is None or name not in there:
            raise WorkspaceError(
                f"{run}: {'two arms are compared' if name is None else f'no arm {name} was evaluated'} (evaluated: "
                f"{', '.join(there) or 'none'}); run `arte recipe {recipe.name} --out {run} --until evaluate`"
            )
    assert first is not None
    assert second is not None
    return first, second


def _paired(run: Path, a: str, b: str) -> list[tuple[OpenSample, OpenSample]]:
    ours, theirs = (read_rows(run / "evaluate" / arm / "samples.jsonl", OpenSample) for arm in (a, b))
    by_id = {sample.id: sample for sample in theirs}
    both = [(sample, by_id[sample.id]) for sample in ours if sample.id in by_id]
    if not both:
        raise DataError(f"{run}: {a} and {b} replied to no item that is the same; evaluate them anew")
    return both


def _side(said: Said | None, first: Side, second: Side) -> Side | None:
    """Whose reply was preferred, where `first` was shown first."""
    if said is None or said == "tie":
        return said
    return first if said == "1" else second


def _in_options(message: str) -> str:
    for setting, option in _OPTIONS.items():
        message = message.replace(setting, option)
    return message
