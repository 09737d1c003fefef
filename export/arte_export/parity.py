"""Whether a device file is the torch model it was made from: the gate that every exported file goes through.

Checks, each named in `Parity.failed` where it fails: `token_ids`, `vocabulary` (the text of every token),
`chat_template`, `special_tokens`, `weights` (GGUF: tensor by tensor against the model converted at its own
precision), `distributions`, `answers`, and `task_accuracy` where it was measured. Thresholds: thresholds.py.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from arte_export import reference, runtime_limits, thresholds
from arte_export.answers import Answers
from arte_export.conversations import conversations
from arte_export.device_file import DeviceFile
from arte_export.distributions import Distributions
from arte_export.gate import Greedy, Parity, TaskAccuracy
from arte_export.strings import test_strings
from arte_export.vocabulary import Conversation, Vocabulary
from arte_export.vocabulary_parity import differences, differing_texts, first_difference

STRINGS = 1000


class Reference:
    """The torch model's side, computed once for all of its files.

    `rows` are token ids of task text (distributions), `prompts` rendered prompts (greedy answers, of at most
    `max_tokens` tokens), `extract` reads the answer to a prompt out of a continuation.
    """

    def __init__(
        self,
        folder: Path,
        rows: Sequence[Sequence[int]],
        prompts: Sequence[str],
        max_tokens: int,
        extract: Callable[[str, str], str | None],
    ) -> None:
        self.folder, self.rows, self.prompts, self.max_tokens, self.extract = folder, rows, prompts, max_tokens, extract
        self.conversations: list[Conversation] = conversations()
        tokenizer = reference.tokenizer_of(folder)
        self.texts = [*test_strings(STRINGS), *(f"{tokenizer.decode(row)}" for row in rows)]
        self.vocabulary: Vocabulary = reference.vocabulary(folder, self.texts, self.conversations)
        self.answers: Answers | None = reference.answers(folder, prompts, max_tokens) if prompts else None


def check(
    model: Reference,
    file: DeviceFile,
    source: Path | None,
    measured: Distributions | None,
    threads: int | None = None,
) -> tuple[Parity, Answers | None]:
    """Holds `file` against the torch model; all but the task's accuracy, which the caller adds by `judge`.

    `measured` is what `distributions.measure` found of it; `source` is the model converted to GGUF at its own
    precision, for the tensors of GGUF files. With what was found come the file's answers to the prompts, for grading.

    Raises BadModel where a side cannot be read, ExportError, ChildDied.
    """
    from arte_export import weights

    found = file.vocabulary(model.texts, model.conversations)
    limits = {i: runtime_limits.limit(file.format, model.texts[i]) for i in differing_texts(model.vocabulary, found)}
    excused = {i: words for i, words in limits.items() if words is not None}
    problems = differences(model.vocabulary, found, model.texts, model.conversations, excused)
    tensors = weights.compare(source, file.path) if source is not None and file.format == "gguf" else None
    greedy, made = None, None
    if model.answers is not None:
        made = file.answers(model.prompts, model.max_tokens, threads=threads)
        greedy = compare_answers(model.prompts, model.answers, made, set(found.ends), model.extract)
    parity = Parity(
        token_ids=not problems.token_ids,
        vocabulary=not problems.vocabulary,
        chat_template=not problems.chat_template,
        special_tokens=not problems.special_tokens,
        strings=len(model.texts),
        conversations=sum(text is not None for text in model.vocabulary.rendered),
        weights=tensors,
        distributions=measured,
        greedy=greedy,
        thresholds=_limits(file)._asdict(),
        failed=[name for name, lines in problems._asdict().items() if lines],
        why=[f"{name}: {line}" for name, lines in problems._asdict().items() for line in lines],
        notes=[f"{count} texts: {words}" for words, count in Counter(excused.values()).items()],
    )
    return judge(parity, file, None), made


def judge(parity: Parity, file: DeviceFile, accuracy: TaskAccuracy | None) -> Parity:
    """The same with the figures held against the scheme's thresholds, each failure named once."""
    limits = _limits(file)
    found = thresholds.failures(limits, parity.weights, parity.distributions, parity.greedy, accuracy)
    fresh = {name: line for name, line in found.items() if name not in parity.failed}
    return parity.model_copy(
        update={
            "task_accuracy": accuracy,
            "failed": [*parity.failed, *fresh],
            "why": [*parity.why, *(f"{name}: {line}" for name, line in fresh.items())],
        }
    )


def _limits(file: DeviceFile) -> thresholds.Thresholds:
    assert file.scheme is not None, f"{file.path}: only files that we made have thresholds"
    return thresholds.of(file.format, file.scheme)


def compare_answers(
    prompts: Sequence[str],
    model: Answers,
    file: Answers,
    file_ends: set[int],
    extract: Callable[[str, str], str | None],
) -> Greedy:
    """Both sides' continuations of the same prompts.

    A file may know more end tokens than the model's generation config names; where it stops at one that the model made
    too, the two are equal as far as anybody sees.
    """
    common, exact, equal = [], [], []
    first = None
    for prompt, ours, theirs, our_text, their_text in zip(
        prompts, model.token_ids, file.token_ids, model.texts, file.texts, strict=True
    ):
        at = first_difference(ours, theirs)
        whole = at == len(theirs) and (at == len(ours) or theirs[-1] in file_ends)
        common.append(at)
        exact.append(whole)
        our_answer, their_answer = extract(prompt, our_text), extract(prompt, their_text)
        equal.append(whole or our_answer == their_answer)
        if not equal[-1] and first is None:
            first = (
                f"after {prompt[-80:]!r} the model says {our_text[-80:]!r} ({our_answer}), "
                f"the file {their_text[-80:]!r} ({their_answer}); they part at token {at}"
            )
    count = len(common)
    return Greedy(
        prompts=count,
        tokens=sum(map(len, model.token_ids)) / count,
        match_tokens=sum(common) / count,
        exact=sum(exact) / count,
        answers_equal=sum(equal) / count,
        first_difference=first,
    )
