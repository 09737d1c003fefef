"""Broken things for the table of errors: data, models, disks, an installation that lacks a library."""

import contextlib
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arte import models
from arte.models.starter import STARTER_MODELS
from arte.recipe import Model

ROW = {"question": "Ann has 3 pens and buys 4. How many?", "answer": "3 + 4 = 7\n#### 7"}
STUDENT = "smollm2-135m-instruct"


def data(folder: Path, train: bytes, test: bytes | None = None) -> str:
    """A folder as task.data wants it. By default its test.jsonl is in order."""
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(train)
    (folder / "test.jsonl").write_bytes(test if test is not None else json.dumps(ROW).encode())
    return str(folder)


def student_folder(folder: Path, change: Callable[[bytes], bytes]) -> str:
    """The tiny student with other bytes in its weights file."""
    shutil.copytree(models.resolve(Model(name="tiny-random-student")).path, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(change(weights.read_bytes()))
    return str(folder)


def deadly_gguf(file: Path) -> str:
    """A file whose header is in order, but says that the model has no layers: llama.cpp then aborts its process."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_block_count(0)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_feed_forward_length(64)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    tokens = [*(chr(code) for code in range(33, 65)), "12"]
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges(["1 2"])
    writer.add_eos_token_id(0)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(file)


def altered_download(home: Path) -> None:
    """A starter model in the cache of downloads that is not the one pinned."""
    downloads = home / "downloads"
    downloads.mkdir(parents=True)
    (downloads / f"{STUDENT}-{STARTER_MODELS[STUDENT].sha256[:16]}.gguf").write_bytes(b"GGUF, but another one")


def altered_piece(home: Path) -> None:
    """The one piece of a starter model, unpacked and not joined yet, with other bytes."""
    (wheel,) = STARTER_MODELS[STUDENT].wheels
    piece = home / "downloads" / f"{STUDENT}.pieces" / wheel.package / wheel.member
    piece.parent.mkdir(parents=True)
    piece.write_bytes(b"GGUF, but another one")


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A disk in memory, for the time of the block. Skips the test where none can be mounted."""
    if shutil.which("mount") is None:
        pytest.skip("no mount program here")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def held(run: Path) -> Iterator[None]:
    """The lock of a run folder in the hands of another process, which says who it is."""
    run.mkdir()
    hold = "import filelock, sys; l = filelock.FileLock(sys.argv[1]); l.acquire(); print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(run / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        (run / ".holder").write_text(f"process {holder.pid} on another-machine", encoding="utf-8")
        yield
        holder.kill()


def python_without(library: str, folder: Path) -> Path:
    """The interpreter of a virtual environment that has everything installed here, by links, but this library."""
    venv.create(folder, symlinks=True)
    installed = Path(sysconfig.get_path("purelib"))
    here = folder / installed.relative_to(sys.prefix)
    linked = 0
    for entry in installed.iterdir():
        if not entry.name.startswith(library):
            (here / entry.name).symlink_to(entry)
            linked += 1
    assert linked > 50
    return folder / "bin" / "python"
