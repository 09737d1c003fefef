# make gsm8k    installs into .venv and runs the whole job at the scale this machine can carry; run again, it goes on
# make test     installs what developers need and runs lint, types and tests

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

# A llama-cpp-python built with AMX crashes at its first matrix product on CPUs that have it (ggml-org/llama.cpp 20824);
# without those instructions it keeps everything else of the native build.
ifeq ($(shell uname -m),x86_64)
NO_AMX := -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
export CMAKE_ARGS ?= -DCMAKE_C_FLAGS='$(NO_AMX)' -DCMAKE_CXX_FLAGS='$(NO_AMX)'
endif

# vLLM's CPU build cannot live beside the newest transformers, so it has an environment of its own.
VLLM := .venv-vllm
VLLM_TESTS := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' '-')),$(VLLM)/installed)

.PHONY: gsm8k test lint types install clean

gsm8k: $(VENV)/installed
	$(BIN)/arte recipe gsm8k $(ARGS)

test: $(VENV)/installed-dev $(VLLM_TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy arte export tests benchmarks
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)
	$(if $(VLLM_TESTS),HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(VLLM)/bin/python -m pytest tests/vllm,@echo "tests/vllm: not run, as vLLM has no CPU build for this machine")

install: $(VENV)/installed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[gguf,onnx,openai]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev
	touch $@

$(VLLM)/installed: tests/vllm_environment.py pyproject.toml
	$(PYTHON) tests/vllm_environment.py $(VLLM)
	touch $@

clean:
	rm -rf $(VENV) $(VLLM)
