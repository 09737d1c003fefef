"""What this machine has and what it lacks, each with what to do. Loads no model of the user's and downloads nothing."""

import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from arte_export import environment, llama_bench_build

from arte import config, machine
from arte.models import arte_home, compute_dtype
from arte.models.load import products_per_second
from arte.models.resolve import starter_is_here
from arte.models.starter import STARTER_MODELS

GIB = 2**30
STARTER_MEMORY_BYTES = 8 * GIB
STARTER_DISK_BYTES = 4 * GIB
HUB_SECONDS = 3.0
EVALUATION_SECONDS = 60
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "sve", "bf16")
EXTRAS = {
    "onnx": (("onnx", "onnxruntime", "onnxruntime_genai"), "ONNX files"),
    "vllm": (("vllm",), "a teacher on a GPU"),
}
WITHOUT_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
EVALUATE = """
import sys
import llama_cpp
model = llama_cpp.Llama(sys.argv[1], n_ctx=64, verbose=False)
model.eval(list(range(3, 35)))
"""


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    advice: str | None = None
    """What to do about it; None where nothing needs doing."""


def doctor() -> list[Finding]:
    """Looks at everything, in a few seconds."""
    findings = [
        _python(),
        _memory(),
        _disk(),
        _processor(),
        _accelerator(),
        _speed(),
        *_libraries(),
        _llama_cpp(),
        *_extras(),
        _optimum(),
        _llama_bench(),
        *_starter_models(),
        _hub(),
    ]
    return [finding._replace(advice=None) if finding.ok else finding for finding in findings]


def _python() -> Finding:
    return Finding(
        "Python", sys.version_info >= (3, 11), platform.python_version(), "ARTE needs Python 3.11 or newer; install one"
    )


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    return Finding(
        "memory",
        memory.available >= STARTER_MEMORY_BYTES,
        f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f} GiB",
        f"the starter scale takes up to {STARTER_MEMORY_BYTES / GIB:.0f} GiB: close other programs, or "
        "take --scale smoke",
    )


def _disk() -> Finding:
    home = arte_home()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free_bytes = shutil.disk_usage(existing).free
    writable = os.access(existing, os.W_OK)
    return Finding(
        "model cache",
        writable and free_bytes >= STARTER_DISK_BYTES,
        f"{home}, {free_bytes / GIB:.1f} GiB free{'' if writable else ', not writable'}",
        f"the starter models take {STARTER_DISK_BYTES / GIB:.0f} GiB while they are unpacked: free some space, "
        "or set ARTE_HOME to a folder elsewhere",
    )


def _processor() -> Finding:
    features = [feature for feature in CPU_FEATURES if feature in _cpu_flags()]
    cores = os.cpu_count()
    return Finding(
        "processor", True, f"{machine.cpu_name()}, {cores} cores, {' '.join(features) or 'features unknown'}"
    )


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[1].split()}


def _accelerator() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("GPU", True, "none: scales smoke and starter run, gpu and paper do not")
    memory_bytes = torch.cuda.get_device_properties(0).total_memory
    return Finding("GPU", True, f"{torch.cuda.get_device_name(0)}, {memory_bytes / GIB:.0f} GiB")


def _speed() -> Finding:
    speeds = ", ".join(f"{dtype} {products_per_second(dtype) / 1e9:.1f}" for dtype in ("float32", "bfloat16"))
    return Finding("matrix products", True, f"{speeds} GFLOP/s; dtype auto computes in {compute_dtype('auto')}")


def _libraries() -> list[Finding]:
    """Each main library's version beside the tested one, where the constraints file is at hand (a checkout)."""
    constraints = Path(__file__).resolve().parent.parent / "constraints.txt"
    tested = {}
    if constraints.is_file():
        lines = constraints.read_text(encoding="utf-8").splitlines()
        tested = dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
    findings = []
    installed = machine.versions()
    for library in machine.LIBRARIES:
        version, expected = installed.get(library), tested.get(library)
        if version is None and library == "llama-cpp-python":
            continue  # looked at by itself
        same = expected is None or (version is not None and version.split("+")[0] == expected.split("+")[0])
        found = "not installed" if version is None else version
        found += "" if same or expected is None else f" (tested with {expected})"
        # Another version may well do; only an absent library is wrong.
        findings.append(Finding(library, version is not None, found, "pip install -c constraints.txt -e '.[gguf]'"))
    return findings


def _llama_cpp() -> Finding:
    """Evaluates a small file in a child process: a build that does not fit the processor kills it."""
    name = "llama.cpp runs device files"
    if importlib.util.find_spec("llama_cpp") is None:
        return Finding(
            name,
            False,
            "llama-cpp-python is not installed",
            "pip install -c constraints.txt -e '.[gguf]' (or make install)",
        )
    from arte.models import gguf_probe

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probe.gguf"
        gguf_probe.write(file)
        return evaluation(name, [sys.executable, "-c", EVALUATE, str(file)])


def evaluation(name: str, command: list[str]) -> Finding:
    """Runs a child that should exit 0, and says what became of it."""
    try:
        child = subprocess.run(command, capture_output=True, timeout=EVALUATION_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding(name, False, f"no answer in {EVALUATION_SECONDS} s", "close other programs and look again")
    version = f"llama-cpp-python {metadata.version('llama-cpp-python')}"
    if child.returncode == 0:
        return Finding(name, True, version)
    if child.returncode < 0:
        flags = f"-DCMAKE_C_FLAGS='{WITHOUT_AMX}' -DCMAKE_CXX_FLAGS='{WITHOUT_AMX}'"
        return Finding(
            name,
            False,
            f"{version} was killed by {signal.Signals(-child.returncode).name} at its first evaluation",
            "its build does not fit this processor (known with AMX); on x86-64 rebuild it, in about four minutes: "
            f'CMAKE_ARGS="{flags}" pip install --force-reinstall --no-deps --no-binary :all: --no-cache-dir '
            f"llama-cpp-python=={metadata.version('llama-cpp-python')}",
        )
    last = (child.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    return Finding(
        name, False, f"{version}: {last}", "install it again: pip install --force-reinstall llama-cpp-python"
    )


def _extras() -> list[Finding]:
    findings = []
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        install = f"not installed; for {purpose}: pip install -c constraints.txt -e '.[{extra}]'"
        findings.append(Finding(f"extra {extra}", True, install if missing else "installed"))
    return findings


def _optimum() -> Finding:
    if environment.is_installed(arte_home()):
        return Finding("environment optimum", True, f"installed in {environment.folder(arte_home())}")
    return Finding(
        "environment optimum", True, f"not installed; for files of the target onnx-optimum: {environment.INSTALL_LINE}"
    )


def _llama_bench() -> Finding:
    place = llama_bench_build.found(arte_home())
    install = "not built; to measure on machines that have none: arte doctor --install llama-bench"
    return Finding("llama-bench", True, install if place is None else str(place))


def install(name: str) -> str:
    """Installs what is kept apart from this environment, and says where it is: `optimum`, the environment of
    onnx-optimum, or `llama-bench`, built from the source of the installed llama-cpp-python.

    Raises UnknownName, DownloadFailed, ExportError (no disk space, no compiler).
    """
    if config.known("environment or program", name, ["optimum", "llama-bench"]) == "optimum":
        return f"environment {name}: {environment.install(arte_home())}"
    return f"program {name}: {llama_bench_build.build(arte_home())}"


def _starter_models() -> list[Finding]:
    return [
        Finding(
            name,
            True,
            "here" if starter_is_here(name) else f"fetched at first use ({model.size_bytes / 1e6:.0f} MB)",
        )
        for name, model in STARTER_MODELS.items()
    ]


def _hub() -> Finding:
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", True, "not asked: HF_HUB_OFFLINE is set; scales smoke and starter need no hub")
    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception as error:  # the client's own errors differ by its version; any of them means the same here
        return Finding("hub", True, f"not reachable ({type(error).__name__}); scales smoke and starter need no hub")
    signed_in = (
        "signed in" if os.environ.get("HF_TOKEN") or Path(constants.HF_TOKEN_PATH).is_file() else "not signed in"
    )
    return Finding("hub", True, f"reachable, {signed_in}")
