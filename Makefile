# make demo   set up, compile the shipped checkpoint for every target, detect, show AP and latency
# make test   set up, lint, type-check, run all tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTHON311 ?= $(shell command -v python3.11)
BIN := .venv/bin

.PHONY: demo test test-fast bench lint venv clean

demo: .venv/.ready
	$(BIN)/python examples/demo.py

test: .venv/.ready .venvs/tflite-runtime/.ready lint
	$(BIN)/python -m pytest

test-fast: .venv/.ready
	$(BIN)/python -m pytest -m "not slow and not bench"

bench: .venv/.ready
	$(BIN)/python -m pytest -m bench -s

lint: .venv/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

venv: .venv/.ready

# torch 2.13.0 is the version everything here was tested with. On a machine without a GPU,
# `make venv TORCH="torch==2.13.0 --index-url <PyTorch's CPU index>"` saves gigabytes of CUDA.
TORCH ?= torch==2.13.0
# TensorRT for tests: its Python API for introspection, and the TensorRT-RTX builder, which parses and builds
# on a CPU. --no-deps, because their declared needs are CUDA packages that only running an engine takes.
TENSORRT_LEAN := tensorrt_lean_cu13_libs==11.4.0.106 tensorrt_lean_cu13_bindings==11.4.0.106
TENSORRT_RTX := tensorrt_rtx_cu13_bindings onnxruntime_ep_nv_tensorrt_rtx_cu13==0.5.0

.venv/.ready: pyproject.toml Makefile
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q $(TORCH)
	$(BIN)/pip install -q -e ".[all]"
	-$(BIN)/pip install -q --no-deps $(TENSORRT_LEAN) $(TENSORRT_RTX)
	touch $@

# tflite-runtime ends at Python 3.11 and numpy 1; without that Python its tests are skipped and say so.
.venvs/tflite-runtime/.ready: Makefile
	mkdir -p .venvs
ifneq ($(PYTHON311),)
	$(PYTHON311) -m venv .venvs/tflite-runtime
	.venvs/tflite-runtime/bin/pip install -q "numpy<2" tflite-runtime==2.14.0 "opencv-python<4.12" click
endif
	mkdir -p $(@D) && touch $@

clean:
	rm -rf .venv .venvs build dist out *.egg-info
