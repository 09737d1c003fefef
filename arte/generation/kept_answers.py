"""Answers that were paid for, kept one by one, so that a killed run asks for none of them again."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from arte.generation import Answer, Finish
from arte.rows import Row


class KeptAnswer(Row):
    """One line: an answer, by the digest of what was asked."""

    key: str
    text: str
    tokens_in: int
    tokens_out: int
    finish: Finish


def key_of(request: dict[str, Any]) -> str:
    """SHA-256 of a request as JSON: model, prompt, seed and every setting of the sampling."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class KeptAnswers:
    """A JSONL file that grows by lines. A line that a kill cut short is dropped when it is opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {}
        self._new: list[Answer] = []
        whole = b""
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
            try:
                row = KeptAnswer.model_validate_json(line)
            except ValidationError:
                break
            if not line.endswith(b"\n"):
                break
            self.answers[row.key] = Answer(row.text, row.tokens_in, row.tokens_out, row.finish)
            whole += line
        path.write_bytes(whole)

    def keep(self, key: str, answer: Answer) -> None:
        """Adds an answer; it outlives this process when this returns."""
        row = KeptAnswer(key=key, **answer._asdict())
        with self.path.open("ab") as file:
            file.write((row.model_dump_json() + "\n").encode())
        self.answers[key] = answer
        self._new.append(answer)

    def take_new(self) -> list[Answer]:
        """Those that this process kept since it last asked."""
        new, self._new = self._new, []
        return new
