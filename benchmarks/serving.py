"""A server of a benchmark: started on a free port of loopback, waited for, ended with all its processes."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

VLLM = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # as many threads as vLLM has in process: by itself it keeps a core free
}
"""Other servers do not read these."""


@contextmanager
def served(command: Sequence[str], log: Path) -> Iterator[str]:
    """The address, ending in /v1, of the server that the command starts; what it prints goes into `log`.

    Raises SystemExit with the end of that where it ends before it answers /health.
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=file, stderr=file, env={**os.environ, **VLLM}, start_new_session=True,
        )  # fmt: skip
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"the server did not start: {log.read_text(errors='replace')[-3000:]}") from None
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
