"""This machine: what it is and which device computes."""

import contextlib
import ctypes
import gc
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "lm-eval", "llama-cpp-python", "gguf")
MEASURED_SECONDS = 0.1
"""For which a call is made again and again, at least once."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt (glibc's malloc.h)."""
KEPT_BYTES = 2**22
"""Of the largest block that is kept: as large as the weights and activations of a small student's layer."""


def device() -> str:
    """`cuda` where torch sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def quickest_s(call: Callable[[], object]) -> float:
    """Seconds of the quickest of many calls: other programs only ever slow them down."""
    taken: list[float] = []
    began = time.perf_counter()
    while not taken or time.perf_counter() - began < MEASURED_SECONDS:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def keep_memory() -> None:
    """Has glibc keep what blocks of up to 4 MiB held for the next ones, until `return_memory`.

    Otherwise the end of the heap goes back to the system when it is free, and the next blocks come as fresh pages, each
    to be wiped first. Larger blocks go back at once: kept, as glibc by itself comes to keep up to 32 MiB, they leave
    gaps that the next do not fit, and a run grew by gigabytes from alignment to alignment (LOG.md, 2026-11-29).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def return_memory() -> None:
    """Gives back what models that are done with held: glibc keeps it, and the next model would come on top of it."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def describe(dtype: str) -> dict[str, Any]:
    """The `machine` of report.json: processor, cores, memory in bytes, accelerator, versions."""
    import psutil
    import torch

    return {
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(logical=True),
        "memory_bytes": psutil.virtual_memory().total,
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "versions": {"python": platform.python_version(), "dtype": dtype, **versions()},
    }


def versions() -> dict[str, str]:
    """The installed version of each main library; those that are not installed are left out."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_name() -> str:
    """The processor's model name, as the operating system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def largest_gpu_bytes() -> tuple[int | None, str]:
    """Memory of the largest NVIDIA GPU (null without one), and how that is known. Loads no torch."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, "no NVIDIA GPU was found (nvidia-smi is not there)"
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answered = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
        sizes = [int(line) * 2**20 for line in answered.stdout.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return None, "no NVIDIA GPU was found (nvidia-smi does not answer)"
    if not sizes:
        return None, "no NVIDIA GPU was found"
    return max(sizes), f"a GPU with {max(sizes) / 2**30:.0f} GiB was found"


def hub_models_available(names: Sequence[str]) -> tuple[bool, str]:
    """Whether these models can be had: from a folder, from the hub's cache, or from the hub itself."""
    missing = [name for name in names if not os.path.isdir(name) and not _cached(name)]
    if not missing:
        return True, "the models are on this machine"
    if _hub_answers():
        return True, "the hub answers"
    return False, f"the hub does not answer, and {', '.join(missing)} is not on this machine"


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _hub_answers() -> bool:
    import socket
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    host = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((host.hostname or "", host.port or 443), timeout=3):
            return True
    except OSError:
        return False
