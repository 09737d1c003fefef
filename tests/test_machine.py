"""What glibc does with memory that tensors are done with; each case in a process of its own, which it holds for."""

import json
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import psutil, torch
from arte import machine

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def held():
    return psutil.Process().memory_info().rss

if sys.argv[1] == "keep":
    machine.keep_memory()
layers = [torch.nn.Linear(*shape) for _ in range(10) for shape in ((576, 1536), (1536, 576))]
model = torch.nn.Sequential(*layers)
for step in range(8):
    if step == 4:
        before = pages()
    model(torch.ones(512, 576)).sum().backward()
    model.zero_grad()
fresh = pages() - before
there = held()
torch.ones(2**26)
larger = held() - there
machine.return_memory()
print(json.dumps({"fresh": fresh, "larger": larger, "returned": there - held()}))
"""
GRADIENTS = 20 * 576 * 1536 * 4
"""Bytes, of twenty layers in float32."""
LARGEST_PAGE = 2**21
"""Bytes that a fault may bring, where the system gives large pages unasked."""


def _told(mode: str) -> dict[str, int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt and malloc_trim are glibc's")
def test_kept_memory_is_used_again_and_can_be_returned() -> None:
    """Four steps of training: at least half of the gradients' pages fresh in each, or none. 256 MiB are not kept."""
    plain, kept = _told("plain"), _told("keep")
    assert plain["fresh"] >= 4 * GRADIENTS / 2 / LARGEST_PAGE
    assert kept["fresh"] < plain["fresh"] / 10
    assert kept["returned"] > GRADIENTS / 2
    assert kept["larger"] < 2**25
