"""What a GGUF file says of itself: the general.* keys and the file name, by one convention (ggml docs/gguf.md).

BaseName-SizeLabel-FineTune-Version-Encoding.gguf: the parts of the name are the values of `general.basename`,
`size_label`, `finetune` and `version`; a part that is not there is left out of both.
"""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict

_SIZE = re.compile(r"(?:\d+x)?\d+(?:\.\d+)?[KMBT]", re.IGNORECASE)
_VERSION = re.compile(r"v\d+(?:\.\d+)*", re.IGNORECASE)


class Source(BaseModel):
    """A base model or a data set; what is None is not written."""

    model_config = ConfigDict(frozen=True)

    name: str
    organization: str | None = None
    version: str | None = None
    description: str | None = None
    url: str | None = None
    repo_url: str | None = None


class Metadata(BaseModel):
    """Values of general.*; for those that are None the model card in the folder (README.md) is asked.

    Not so for the four that make the file name: these are written as they are here, and only if they are here.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    basename: str
    size_label: str
    finetune: str | None = None
    version: str | None = None
    author: str | None = None
    organization: str | None = None
    description: str | None = None
    quantized_by: str | None = None
    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    url: str | None = None
    repo_url: str | None = None
    tags: list[str] | None = None
    languages: list[str] | None = None
    base_models: list[Source] | None = None
    datasets: list[Source] | None = None

    @classmethod
    def named(cls, name: str, parameters: int, **others: Any) -> "Metadata":
        """The parts of a model's name: "SmolLM2-135M-Instruct" is SmolLM2, 135M, Instruct.

        A name without a size gets the one that the count of parameters has. `others` are further values.
        """
        parts = [part for part in re.sub(r"[^\w.]+", "-", name).split("-") if part]
        at = next((index for index in range(1, len(parts)) if _SIZE.fullmatch(parts[index])), None)
        if at is None:
            found = {"basename": "-".join(parts) or "model", "size_label": size_label(parameters)}
        else:
            rest = parts[at + 1 :]
            version = rest.pop() if rest and _VERSION.fullmatch(rest[-1]) else None
            found = {"basename": "-".join(parts[:at]), "size_label": parts[at]}
            found |= {"finetune": "-".join(rest)} if rest else {}
            found |= {"version": version} if version else {}
        return cls.model_validate({"name": name, **found, **others})

    def file_name(self, encoding: str) -> str:
        """The file of one encoding: "SmolLM2-135M-Instruct-Q4_K_M.gguf"."""
        parts = (self.basename, self.size_label, self.finetune, self.version, encoding)
        return "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts if part) + ".gguf"

    def values(self) -> dict[str, Any]:
        """What is to be written, by the names that llama.cpp's converter has for them; None is "not at all"."""
        return {"finetune": None, "version": None} | self.model_dump(exclude_none=True)


def size_label(parameters: int) -> str:
    """The count of parameters as the convention writes it, with two digits at least: 134,515,008 is "135M"."""
    for scale, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= scale or letter == "K":
            break
    scaled = parameters / scale
    return f"{scaled:.{1 if scaled < 9.5 else 0}f}{letter}"
