"""A device file and what can be asked of it, whatever its format: its vocabulary, its logits, its answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from arte_export import child, genai_files, optimum_env
from arte_export.answers import Answers
from arte_export.vocabulary import Conversation, Vocabulary

Format = Literal["gguf", "onnx", "onnx-optimum"]
LogitsOf = Callable[[Sequence[int]], NDArray[np.float32]]


def recognised(path: Path, home: Path) -> "DeviceFile | None":
    """The device file that a path names, by its suffix or by what the folder holds; None for anything else."""
    found: dict[Format, bool] = {
        "gguf": path.suffix == ".gguf",
        "onnx": (path / genai_files.CONFIG).is_file(),
        "onnx-optimum": (path / optimum_env.GRAPH).is_file(),
    }
    form = next((form for form, is_it in found.items() if is_it), None)
    return None if form is None else DeviceFile(path=path, format=form, scheme=None, home=home)


def size_bytes(path: Path) -> int:
    """The size of a file, or of all files of a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


class DeviceFile(BaseModel):
    """`path` is a .gguf file or an ONNX folder; `home` is where the tools of ours lie (converter, environments).

    `scheme` is None where the file was made elsewhere.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    format: Format
    scheme: str | None
    home: Path

    def resolved(self) -> "DeviceFile":
        """The same, with absolute paths: a child process may have another working folder."""
        return self.model_copy(update={"path": self.path.resolve(), "home": self.home.resolve()})

    @property
    def bytes(self) -> int:
        """The size of the file, or of all files of the folder."""
        return size_bytes(self.path)

    @contextmanager
    def logits(self, longest: int) -> Iterator[LogitsOf]:
        """Token ids (at most `longest`) to logits of shape (tokens, vocabulary). To be used in a child process only."""
        if self.format == "gguf":
            from arte_export import runtime

            with (
                runtime.load(self.path) as model,
                runtime.context(model, sequence_tokens=longest) as context,
            ):
                yield context.logits_of
        else:
            from arte_export import onnx_logits

            graph = "model.onnx" if self.format == "onnx" else optimum_env.GRAPH
            with onnx_logits.open_model(self.path / graph) as session:
                yield session.logits

    def vocabulary(self, texts: Sequence[str], conversations: Sequence[Conversation]) -> Vocabulary:
        """What the file's own runtime makes of texts and conversations. Raises BadModel, ChildDied."""
        if self.format == "gguf":
            from arte_export import gguf_vocabulary

            return gguf_vocabulary.vocabulary(self.path, texts, conversations)
        if self.format == "onnx":
            from arte_export import genai

            return genai.vocabulary(self.path, texts, conversations)
        from arte_export import onnx_optimum

        return onnx_optimum.vocabulary(self.path, self.home, texts, conversations)

    def answers(
        self,
        prompts: Sequence[str],
        max_tokens: int,
        threads: int | None = None,
        progress: child.Progress | None = None,
    ) -> Answers:
        """Greedy continuations of prompts that are already rendered. Raises BadModel, ExportError, ChildDied."""
        if self.format == "gguf":
            from arte_export import generate

            return generate.answers(self.path, prompts, max_tokens, threads=threads, progress=progress)
        if self.format == "onnx":
            from arte_export import genai

            return genai.answers(self.path, prompts, max_tokens, threads=threads, progress=progress)
        from arte_export import onnx_optimum

        return onnx_optimum.answers(self.path, self.home, prompts, max_tokens, threads=threads, progress=progress)
