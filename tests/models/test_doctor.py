import importlib.util
import sys

import pytest

from arte.doctor import doctor, evaluation


def test_looks_at_everything_and_advises_only_where_something_is_wrong() -> None:
    findings = doctor()
    names = [finding.name for finding in findings]
    assert len(set(names)) == len(names)
    known = "Python", "memory", "model cache", "processor", "matrix products", "torch", "extra onnx", "hub"
    for expected in (*known, "environment optimum"):
        assert expected in names
    assert {"smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"} <= set(names)
    assert all((finding.advice is None) == finding.ok for finding in findings)
    found = {finding.name: finding.found for finding in findings}
    assert found["hub"].startswith("not asked: HF_HUB_OFFLINE is set")
    assert "GFLOP/s; dtype auto computes in " in found["matrix products"]
    if importlib.util.find_spec("llama_cpp") is not None:
        assert found["llama.cpp runs device files"].startswith("llama-cpp-python 0.")


def test_a_build_that_kills_its_process_is_told_with_the_way_to_rebuild_it() -> None:
    pytest.importorskip("llama_cpp")
    killed = evaluation("x", [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"])
    assert not killed.ok
    assert "was killed by SIGSEGV at its first evaluation" in killed.found
    assert killed.advice is not None
    assert (
        "CMAKE_ARGS=\"-DCMAKE_C_FLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16' "
        "-DCMAKE_CXX_FLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'\" pip install"
    ) in killed.advice


def test_a_build_that_fails_is_told_with_its_last_line() -> None:
    pytest.importorskip("llama_cpp")
    failed = evaluation("x", [sys.executable, "-c", "raise ValueError('no such symbol')"])
    assert not failed.ok
    assert failed.found.endswith("ValueError: no such symbol")
