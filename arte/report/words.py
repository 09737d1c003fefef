"""What the figures say, in sentences. Page, model card and terminal say the same, because they all ask here."""

import re

from arte import arms
from arte.report.contract import Data, Report
from arte.report.notation import interval, nats, nats_interval, percent, points, signed_nats
from arte.report.scores import MEAN, Accuracy, Comparison, Loss
from arte.stages.overlap import Overlap
from arte.tasks.located import Read

ARM_MEANING = {str(arm): made.meaning for arm, made in arms.MADE.items()}
REASON_MEANING = {
    "unparsed": "no question or final answer could be read",
    "inconsistent": "nothing is calculated, an equation does not hold, or the answer is not the majority's",
    "duplicate": "nearly the same as an earlier draft",
    "contaminated": "shares a run of words with a probe or test problem",
    "too_long": "with its prompt too long for the teacher's context",
}
_TASK_TITLES = {"starter": "the starter task", "gsm8k": "GSM8K"}
_DATA_NOTES = {
    "starter": "All accuracies here are from the starter task: school arithmetic of one to three steps, made by this "
    "project in GSM8K's format. They are not GSM8K figures and must not be compared with published ones.",
    "gsm8k": "All accuracies here are from the GSM8K test set.",
}
_TOLERATED_LOSS = 0.03


def beyond_chance(comparison: Comparison) -> bool:
    """Whether the 95 % interval leaves out 0."""
    low, high = comparison.ci95
    return low > 0 or high < 0


def is_better(comparison: Comparison) -> bool:
    """Whether a has the higher accuracy, or the lower loss."""
    return comparison.difference < 0 if comparison.metric == "loss" else comparison.difference > 0


def chance(comparison: Comparison) -> str:
    if comparison.difference == 0 and comparison.ci95 == (0, 0):
        return "the same losses" if comparison.metric == "loss" else "the same problems answered rightly"
    if not beyond_chance(comparison):
        return "which chance alone could give"
    if is_better(comparison):
        return "beyond chance"
    return "for the worse, beyond chance" if comparison.metric == "loss" else "a loss beyond chance"


def task_title(report: Report) -> str:
    return _TASK_TITLES.get(report.task, f"the task {report.task}")


def file_name(report: Report) -> str:
    """What a student's model is called where names may not hold everything: that of its task, plainly."""
    return "arte-" + re.sub(r"[^A-Za-z0-9._-]+", "-", report.task)


def data_note(report: Report) -> str:
    """Which data the accuracies are from, and what they must not be taken for."""
    if report.losses:
        lost = report.losses[0]
        return (
            f"All losses here are from {task_title(report)}: nats a token of the gold replies to {lost.n:,} held-out "
            f"items ({lost.tokens:,} tokens), every item of the same weight."
        )
    note = _DATA_NOTES.get(report.task, f"All accuracies here are from {task_title(report)}.")
    test = next((row for row in report.accuracy if row.artefact == "model" and row.slice == "test"), None)
    if test is None:
        return note
    asked = report.settings.get("task", {}).get("test")
    part = f" The first {test.n:,} test problems were asked" if asked else f" All {test.n:,} test problems were asked"
    return note + (part if report.task == "gsm8k" else f" {test.n:,} test problems were asked") + ", greedily."


def sentence(report: Report) -> str:
    """What was gained, and whether it is beyond chance."""
    if report.losses:
        return _loss_sentence(report)
    trained = next((row for arm in reversed(arms.trained(report.arms)) if (row := report.found(arm))), None)
    untrained = report.found("untrained")
    best = trained or untrained
    if best is None:
        done = report.stages[-1].name if report.stages else None
        return f"Nothing was evaluated yet: the run stopped after {done}." if done else "Nothing was run yet."
    kind = ", school arithmetic, not GSM8K" if report.task == "starter" else ""
    opening = f"On {task_title(report)} ({best.n:,} test problems{kind})"
    if trained is None or untrained is None:
        who = "the untrained student" if trained is None else trained.arm
        return (
            f"{opening}, {who} answers {percent(best.accuracy)} (95 % interval {interval(best.ci95)}); "
            "nothing it could be compared with was evaluated."
        )
    text = (
        f"{opening}, {trained.arm} answers {percent(trained.accuracy)} where the untrained student answers "
        f"{percent(untrained.accuracy)}"
    )
    gain = report.compared(trained.arm, "untrained")
    if gain is not None:
        text += f": {points(gain.difference)} (95 % interval {interval(gain.ci95)}), {chance(gain)}"
    return f"{text}.{_alignment(report)}{_mean(report, trained.arm)}"


def _mean(report: Report, arm: str) -> str:
    """By the mean over all tasks of a run over several."""
    means = {
        (row.name, row.arm): percent(row.accuracy)
        for row in report.averages
        if (row.artefact, row.metric) == ("model", "strict-match")
    }
    means |= {(row.slice, row.arm): nats(row.loss) for row in report.losses if row.slice == MEAN}
    if not means:
        return ""
    name, _ = [*means][-1]
    said = [f"{each} {means[name, each]}" for each in (arm, "untrained") if (name, each) in means]
    text = f" Each of its tasks weighed alike ({name}): {', '.join(said)}"
    gain = report.compared(arm, "untrained", report.metric, name)
    return f"{text}; {_gained(gain)}." if gain else f"{text}."


def _gained(row: Comparison) -> str:
    """`+1.2 points (−0.3 to 2.7), which chance alone could give`."""
    size, bounds = points(row.difference), interval(row.ci95)
    if row.metric == "loss":
        size, bounds = signed_nats(row.difference), nats_interval(row.ci95)
    return f"{size} ({bounds}), {chance(row)}"


def _loss_sentence(report: Report) -> str:
    """The same of losses."""
    trained = next((row for arm in reversed(arms.trained(report.arms)) if (row := report.lost(arm))), None)
    untrained = report.lost("untrained")
    best = trained or untrained
    assert best is not None
    text = (
        f"On {task_title(report)} ({best.n:,} test items with open answers), {best.arm} has a loss of "
        f"{nats(best.loss)} nats a token on the gold replies (95 % interval {nats_interval(best.ci95)})"
    )
    if trained is None or untrained is None:
        return f"{text}; nothing it could be compared with was evaluated."
    text += f" where the untrained student has {nats(untrained.loss)}"
    gain = report.compared(trained.arm, "untrained", "loss")
    if gain is not None:
        text += f": {signed_nats(gain.difference)} (95 % interval {nats_interval(gain.ci95)}), {chance(gain)}"
    return f"{text}.{_alignment(report)}{_mean(report, trained.arm)}"


def _alignment(report: Report) -> str:
    control = arms.control(report.arms)
    gain = report.compared("arte", control, report.metric) if control else None
    if gain is None:
        return ""
    what = "Alignment itself" if control == "verified" else "Alignment and the check of answers"
    return f" {what} (arte − {control}): {_gained(gain)}."


def file_notes(report: Report) -> list[str]:
    """For every graded file: what it lost against its torch student, and what is known of the cause."""
    notes = []
    for artefact in report.artefacts:
        lost = report.compared(artefact.file, report.student_arm or "arte")
        if lost is None:
            continue
        text = (
            f"{artefact.file} against its torch student: {points(lost.difference)} ({interval(lost.ci95)}) on "
            f"{lost.n:,} problems, {chance(lost)}."
        )
        if lost.difference < -_TOLERATED_LOSS:
            text += f" That is more than {100 * _TOLERATED_LOSS:.0f} points: {_cause(report, artefact.file)}"
        notes.append(text)
    return notes


def _cause(report: Report, file: str) -> str:
    parity = next((artefact.parity for artefact in report.artefacts if artefact.file == file), None)
    if parity is None or parity.token_ids is None:
        return "no parity check was made, so its cause is unknown."
    if not parity.token_ids:
        return "its tokenizer does not give the torch tokenizer's ids, which alone can explain it."
    if parity.chat_template is False:
        return "its chat template is not the student's, which alone can explain it."
    match = "" if parity.greedy_match is None else f" ({percent(parity.greedy_match)} of greedy answers are the same)"
    return f"tokens and chat template are the student's, so what is left is the coarser weights{match}."


def arm_comparisons(report: Report) -> list[tuple[tuple[str, str], list[Comparison]]]:
    """Comparisons of arms under their (metric, slice), strict-match on the test slice first."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for row in report.comparisons:
        if row.a in ARM_MEANING and row.b in ARM_MEANING:
            groups.setdefault((row.metric, row.slice), []).append(row)
    return sorted(groups.items(), key=lambda group: (group[0][0] != "strict-match", group[0][1] != "test"))


OF_TASK = "task="
"""What a slice's name begins with that is of one task."""


def slice_title(name: str) -> str:
    if name.startswith("steps="):
        count = name.removeprefix("steps=")
        return f"{count} step" if count == "1" else f"{count} steps"
    if name.startswith(OF_TASK):
        return name.removeprefix(OF_TASK)
    return {"test": "All test problems", "unseen": "Unseen templates"}.get(name, name)


def slices(rows: list[Accuracy] | list[Loss]) -> list[str]:
    """Slice names in the order to show them."""
    names = dict.fromkeys(row.slice for row in rows)
    return sorted(names, key=lambda name: (name != "test", name != "unseen", name))


def seeds_trained_on(data: Data) -> str:
    """`the 48 seed problems with their own solutions, each 3 times`; empty where none was trained on."""
    if not data.seeds:
        return ""
    times = f", each {data.seed_copies} times" if data.seed_copies > 1 else ""
    return f"the {data.seeds:,} seed problems with their own solutions{times}"


def overlap(found: Overlap) -> str:
    """What the examples of an arm have in common with a test."""
    text = (
        f"{found.arm}: {found.shared:,} of {found.examples:,} training examples share {found.words} words in a row "
        f"with one of the {found.items:,} items of {found.test}"
    )
    if found.shared:
        text += f" ({found.beyond_seeds:,} of them in words that no seed has, the others in the task's own wording)"
    if found.contained:
        text += f"; {len(found.contained):,} hold a whole item"
    return text + "."


def read(found: Read) -> str:
    """`train.jsonl, SHA-256 0123456789ab`, `openai/gsm8k main train at 0123456789ab`."""
    if found.sha256 is not None:
        return f"{found.name}, SHA-256 {found.sha256[:12]}"
    return f"{found.name} at {found.revision[:12]}" if found.revision else f"{found.name}, commit not known"


def limitations(report: Report) -> list[str]:
    """What these figures do not show."""
    notes = []
    if report.scale == "smoke":
        notes.append(
            "The models of the smoke scale are tiny and random: these figures show that the machinery runs, and say "
            "nothing about the method."
        )
    if report.task == "starter":
        notes.append(
            "The starter task is easier and far narrower than GSM8K: its problems come from templates, and a gain here "
            "need not be one there."
        )
    if report.comparisons:
        notes.append(
            "One training of each arm, with one seed. The intervals cover the choice of test problems; they do not "
            "cover the luck of drafting and training, which can move an arm by several points."
        )
        notes.append("Intervals are of one comparison each; they are not corrected for reading many of them.")
    examples = report.data.examples if report.data else {}
    if len(set(examples.values())) > 1:
        counts = ", ".join(f"{arm} {count:,}" for arm, count in examples.items())
        notes.append(f"The arms were not trained on the same number of examples ({counts}), so they differ in more.")
    if adapter := report.settings.get("align", {}).get("adapter"):
        notes.append(
            f"The teacher was aligned by another run ({adapter}), with what that run's student preferred on that run's "
            "task."
        )
    for teacher in report.data.teachers if report.data else []:
        if without := [task for task, count in teacher.tasks.items() if not count]:
            notes.append(
                f"Of {len(without)} of {len(teacher.tasks)} tasks the {teacher.teacher} teacher wrote nothing that was "
                f"accepted, so nothing of them was learnt from it: {', '.join(without)}."
            )
    if report.data and report.data.seeds:
        notes.append(
            f"Each trained arm also learned from {seeds_trained_on(report.data)}: what it gains on the untrained "
            "student is not the drafts' alone."
        )
    if report.losses:
        notes.append(
            "A loss says how likely the gold replies are to a student, not how good its own replies are; `arte judge` "
            "has a judge compare those of two arms. Accepted drafts are whole and new; nobody judged their replies."
        )
    elif report.data:
        notes.append(
            "Accepted drafts passed checks, not a proof: an answer that most rationales agree on can still be wrong."
        )
    if report.preference and (report.averages or any(row.slice == MEAN for row in report.losses)):
        notes.append(
            "Scores of drafts stand together here, but they are comparable within a task only; pairs were made so."
        )
    if report.measurements:
        notes.append("Speeds and memory are of the machine named here, at that load; other machines will differ.")
    return notes
