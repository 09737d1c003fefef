"""Where the tokens, the special tokens and the chat template of a file differ from the model's, in words.

Each line says the first example, both sides and the likely cause.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from arte_export.vocabulary import Conversation, Vocabulary


class Differences(NamedTuple):
    """Lines for each check that fails; none where it holds."""

    token_ids: list[str]
    vocabulary: list[str]
    chat_template: list[str]
    special_tokens: list[str]


def differences(
    model: Vocabulary,
    file: Vocabulary,
    texts: Sequence[str],
    conversations: Sequence[Conversation],
    excused: Collection[int] = (),
) -> Differences:
    """What differs, for vocabularies that were asked the same texts and conversations.

    `excused` are the indices of texts whose ids need not be the same (runtime_limits.py).
    """
    return Differences(
        _token_ids(model, file, texts, excused),
        _tokens(model, file),
        _chat_template(model, file, conversations),
        _special_tokens(model, file),
    )


def first_difference(expected: Sequence[object], found: Sequence[object]) -> int:
    """The first index at which two sequences part; their common length where one begins with the other."""
    pairs = zip(expected, found, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))


def differing_texts(model: Vocabulary, file: Vocabulary) -> list[int]:
    """The indices of the texts that the two cut into other tokens."""
    return [i for i, ids in enumerate(model.token_ids) if ids != file.token_ids[i]]


def _token_ids(model: Vocabulary, file: Vocabulary, texts: Sequence[str], excused: Collection[int]) -> list[str]:
    differing = [i for i in differing_texts(model, file) if i not in excused]
    if not differing:
        return []
    expected, found = model.token_ids[differing[0]], file.token_ids[differing[0]]
    at = first_difference(expected, found)
    text = texts[differing[0]]
    return [
        f"{len(differing)} of {len(texts)} texts differ, first {text[:80]!r}: from token {at} on "
        f"{expected[at : at + 4]} in the model, {found[at : at + 4]} in the file. Likely cause: the file splits text "
        "or reads special tokens by other rules than tokenizer.json (its pre-tokenizer, normaliser or added tokens)"
    ]


def _tokens(model: Vocabulary, file: Vocabulary) -> list[str]:
    """The model's tokens, by id; a file may hold more, as padding of the vocabulary."""
    differing = [i for i, token in enumerate(model.tokens) if token and file.tokens[i : i + 1] != [token]]
    if not differing:
        return []
    first = differing[0]
    found = repr(file.tokens[first]) if first < len(file.tokens) else "missing"
    return [
        f"{len(differing)} of {len(model.tokens)} tokens have another text, first {first}: {model.tokens[first]!r} in "
        f"the model, {found} in the file. Likely cause: the file was made with another tokenizer, or a token renamed"
    ]


def _chat_template(model: Vocabulary, file: Vocabulary, conversations: Sequence[Conversation]) -> list[str]:
    expected, found = model.chat_template, file.chat_template
    if not expected and not found:
        return []
    if not expected or not found:
        return [
            f"{'none' if not expected else 'one'} in the model, {'none' if not found else 'one'} in the file; runtimes "
            "then take a template of their own, and the file answers prompts that it was never trained on"
        ]
    lines = []
    if expected != found:
        at = first_difference(expected, found)
        lines.append(
            f"differs at character {at}: {expected[at : at + 30]!r} in the model, {found[at : at + 30]!r} in the file. "
            "Likely cause: the template was edited, or taken from another model, after training"
        )
    pairs = zip(model.rendered, file.rendered, strict=True)
    differing = [i for i, (ours, theirs) in enumerate(pairs) if ours != theirs]
    if differing:
        ours, theirs = model.rendered[differing[0]], file.rendered[differing[0]]
        at = first_difference(ours or "", theirs or "")
        roles = "/".join(message["role"] for message in conversations[differing[0]].messages)
        lines.append(
            f"{len(differing)} of {len(conversations)} conversations are rendered otherwise, first number "
            f"{differing[0]} ({roles}) at character {at}: {_part(ours, at)} in the model, "
            f"{_part(theirs, at)} in the file"
        )
    return lines


def _part(text: str | None, at: int) -> str:
    return "refused" if text is None else repr(text[at : at + 30])


def _special_tokens(model: Vocabulary, file: Vocabulary) -> list[str]:
    lines = []
    if model.eos != file.eos:
        lines.append(
            f"EOS is {_named(model, model.eos)} in the model, {_named(file, file.eos)} in the file; "
            "answers would not end where the model was trained to end them"
        )
    if unending := [token for token in model.ends if token not in file.ends and token != model.eos]:
        lines.append(f"{_named(model, unending[0])} ends a generation in the model, but not in the file")
    if model.eos == file.eos and model.eos is not None and model.eos not in file.ends:
        lines.append(f"EOS {_named(model, model.eos)} does not end a generation in the file")
    # runtimes have defaults where the model has no BOS or PAD; they matter only where the model has one
    if model.bos is not None and model.bos != file.bos:
        lines.append(f"BOS is {_named(model, model.bos)} in the model, {_named(file, file.bos)} in the file")
    if model.pad is not None and file.pad is not None and model.pad != file.pad:
        lines.append(f"PAD is {_named(model, model.pad)} in the model, {_named(file, file.pad)} in the file")
    if model.adds_bos != file.adds_bos:
        lines.append(
            f"BOS is {'' if model.adds_bos else 'not '}put in front by the model, "
            f"{'' if file.adds_bos else 'not '}by the file; a prompt would begin with "
            f"{'no' if model.adds_bos else 'a'} BOS where it was trained otherwise"
        )
    if model.control is not None and file.control is not None:
        missing = sorted(set(model.control) - set(file.control))
        if missing:
            lines.append(
                f"{len(missing)} special tokens are ordinary ones in the file, first {_named(model, missing[0])}; "
                "their text in a prompt would be cut into pieces"
            )
    return lines


def _named(vocabulary: Vocabulary, token: int | None) -> str:
    if token is None:
        return "none"
    text = vocabulary.tokens[token] if token < len(vocabulary.tokens) else "?"
    return f"{token} ({text!r})"
