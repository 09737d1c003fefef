"""The Modelfile with which Ollama runs a GGUF file as it was trained (ollama/ollama docs/modelfile.mdx)."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from arte_export import ollama_template
from arte_export.errors import ExportError
from arte_export.vocabulary import Vocabulary


def write(file: Path, vocabulary: Vocabulary, context_tokens: int, licence: str | None) -> Path:
    """Writes `NAME.Modelfile` beside `NAME.gguf`, from what the file itself says of its tokens and its template.

    Raises ExportError where Ollama's template would not be the file's, or a text cannot be written in a Modelfile.
    """
    if vocabulary.chat_template is None:
        raise ExportError(f"{file}: holds no chat template, so there is none to give Ollama; save one and export anew")

    def text(token: int | None) -> str:
        return "" if token is None else vocabulary.tokens[token]

    said = modelfile(
        file,
        vocabulary.chat_template,
        [text(token) for token in vocabulary.ends],
        context_tokens,
        licence,
        bos_token=text(vocabulary.bos),
        eos_token=text(vocabulary.eos),
        adds_bos=vocabulary.adds_bos,
    )
    out = file.with_suffix(".Modelfile")
    partial = out.with_name(f".{out.name}.partial")
    partial.write_text(said, encoding="utf-8")
    os.replace(partial, out)
    return out


def modelfile(
    file: Path,
    template: str,
    ends: Sequence[str],
    context_tokens: int,
    licence: str | None,
    *,
    bos_token: str,
    eos_token: str,
    adds_bos: bool,
) -> str:
    """The text of a Modelfile that lies beside `file`. `ends` are the texts of the tokens that end an answer.

    The temperature is 0 and nothing is penalised: the figures of a file are those of its greedy answers, and Ollama's
    own settings (temperature 0.8, in older ones a repeat penalty of 1.1, which punishes repeated digits) give others.
    Who wants varied answers changes these lines.

    Raises ExportError as `write` does.
    """
    try:
        translation = ollama_template.translate(template, bos_token, eos_token, adds_bos)
    except ExportError as error:
        raise ExportError(f"{file}: {error}") from None
    source = f"./{file.name}"
    plain = re.fullmatch(r"[\w./+-]+", source, re.ASCII) is not None
    lines = [
        "# ollama create NAME -f " + file.with_suffix(".Modelfile").name,
        *(f"# Ollama differs from the model's own template in: {note}" for note in translation.notes),
        f"FROM {source if plain else _quoted(file, source)}",
        f"TEMPLATE {_quoted(file, translation.go)}",
        *(f"PARAMETER stop {_quoted(file, end)}" for end in ends if end),
        f"PARAMETER num_ctx {context_tokens}",
        "# the answers whose accuracy was measured: greedy",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        *([] if licence is None else [f"LICENSE {_quoted(file, licence, may_drop=True)}"]),
    ]
    return "\n".join(lines) + "\n"


def _quoted(file: Path, text: str, may_drop: bool = False) -> str:
    """A text in the quotes of a Modelfile, which know no escapes and lose characters that do not print."""
    lost = [character for character in text if not character.isprintable() and character not in "\n\r\t"]
    if '"""' in text or (lost and not may_drop):
        raise ExportError(f"{file}: a Modelfile cannot hold {text[:80]!r}")
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'
