# make demo   set up, compile the shipped checkpoint for every target, detect, show AP and latency
# make test   set up, lint, type-check, run all tests but timing ratios
# make bench  timing ratios, for a machine without other load
# make dist   wheel and source distribution in dist/, checked by twine
# make lock   renew the exact versions that .venv is made of (requirements/lock.txt)
# make test-fresh   both commands on a minimal Debian 13 (root, debootstrap): tests/fresh/run.sh
# make test-oldest  the oldest versions that the extras allow, on the demo: tests/fresh/oldest.py
# make test-arm     the wheel on arm64 under qemu-user (root, debootstrap, qemu-user-static): tests/arm/run.sh
# make test-gpu     what only an NVIDIA GPU can show, results into docs/results: tests/gpu/run.py
#
# PYTHON=python3.12 takes another interpreter: 3.10 to 3.13.
runs = $(shell $(1) -c "" 2>/dev/null && echo $(1))
PYTHON ?= $(or $(call runs,python3.11),$(call runs,python3.12),$(call runs,python3.13),$(call runs,python3.10),python3)
PYTHON311 ?= $(call runs,python3.11)
BIN := .venv/bin
SHELL := /bin/bash

# Environments of their own, which only tests use.
EXTRA_ENVS := .venvs/tflite-runtime/.ready .venvs/tensorrt/.ready

.PHONY: demo test test-targets test-compiler test-rest test-train test-fast test-fresh test-oldest test-arm test-gpu bench lint lock dist venv venv-tflite clean

demo: .venv/.ready
	$(BIN)/python examples/demo.py

# Parts run two at a time (JOBS=1: one after the other), each in a process of its own: OpenVINO, ONNX Runtime, LiteRT and torch with
# all their threads in one have crashed it. A bundle that several tests want is compiled once per run. Threads that wait do not spin.
JOBS ?= 2
PARTS := targets compiler rest train
COMPILER := tests/compiler tests/checkpoint tests/model tests/fuzz tests/test_checkpoint.py
test: .venv/.ready $(EXTRA_ENVS) lint
	rm -rf .venvs/test-bundles && mkdir .venvs/test-bundles
	EDGE_YOLOV9_TEST_BUNDLES="$(CURDIR)/.venvs/test-bundles" OMP_WAIT_POLICY=passive \
		$(MAKE) --no-print-directory --keep-going -j$(JOBS) $(PARTS:%=test-%)

test-targets: pytest = tests/targets
test-compiler: pytest = $(COMPILER)
test-rest: pytest = -m "not bench" --ignore tests/train --ignore tests/targets $(COMPILER:%=--ignore %)
test-train: pytest = tests/train
$(PARTS:%=test-%):
	@set -o pipefail; $(BIN)/python -u -m pytest -p no:cacheprovider $(pytest) 2>&1 | sed -u "s/^/$(@:test-%=%): /"

test-fast: .venv/.ready
	$(BIN)/python -m pytest -m "not slow and not bench"

test-fresh:
	tests/fresh/run.sh trixie

test-oldest: .venv/.ready .venvs/lock/bin/uv
	$(BIN)/python tests/fresh/oldest.py .venvs/lock/bin/uv $(or $(call runs,python3.10),$(call runs,python3.11),python3.10) .venvs/oldest

test-arm: .venv/.ready
	tests/arm/run.sh

test-gpu: .venv/.ready
	$(BIN)/python -m tests.gpu.run

bench: .venv/.ready
	$(BIN)/python -m pytest -m bench -s

lint: .venv/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

venv: .venv/.ready $(EXTRA_ENVS)

venv-tflite: .venvs/tflite-runtime/.ready

# On a machine without a GPU, `make venv TORCH="torch==2.13.0 --index-url <PyTorch's CPU index>"` saves gigabytes of CUDA.
TORCH ?= -r requirements/torch.txt
.venv/.ready: pyproject.toml Makefile requirements/lock.txt requirements/torch.txt requirements/install.py
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not here; Debian, Ubuntu: apt install python3-venv"; exit 1; }
	@$(PYTHON) requirements/install.py $(TORCH)
	@touch $@

.venvs/lock/bin/uv:
	$(PYTHON) -m venv .venvs/lock
	.venvs/lock/bin/pip install -q uv

# Exact versions for every Python that is supported, on every machine. What CUDA's torch brings with it, torch itself pins.
lock: .venvs/lock/bin/uv
	.venvs/lock/bin/uv pip compile -q --universal --upgrade --python-version 3.10 --extra all --no-annotate pyproject.toml \
		-c requirements/torch.txt -c requirements/constraints.txt --custom-compile-command "make lock" -o .venvs/lock/lock.txt
	grep -v -E "^(nvidia|cuda|triton)" .venvs/lock/lock.txt > requirements/lock.txt

# tflite-runtime ends at Python 3.11 and numpy 1; without that Python its tests are skipped and say so.
.venvs/tflite-runtime/.ready: Makefile
	mkdir -p .venvs
ifneq ($(PYTHON311),)
	$(PYTHON311) -m venv .venvs/tflite-runtime
	.venvs/tflite-runtime/bin/pip install -q numpy==1.26.4 tflite-runtime==2.14.0 opencv-python-headless==4.11.0.86 click==8.3.1
endif
	mkdir -p $(@D) && touch $@

# NVIDIA's Python bindings of five versions, to check our session's every name against, and TensorRT-RTX, whose
# parser and builder run on a CPU. Libraries are left out: --no-deps. Where a wheel is not to be had, tests skip.
define bindings
	-$(BIN)/pip install -q --no-deps --upgrade --target .venvs/tensorrt/$(1) $(2)
endef

.venvs/tensorrt/.ready: .venv/.ready
	mkdir -p $(@D)
	$(call bindings,8.6,tensorrt_bindings==8.6.1)
	$(call bindings,10.3,tensorrt_cu12_bindings==10.3.0)
	$(call bindings,10.13,tensorrt_cu13_bindings==10.13.2.6)
	$(call bindings,10.16,tensorrt_cu13_bindings==10.16.1.11)
	$(call bindings,11.4,tensorrt_cu13_bindings==11.4.0.106)
	$(call bindings,cudart,nvidia_cuda_runtime==13.5.37)
	$(call bindings,rtx,tensorrt_rtx_cu13_bindings==1.7.1.116 onnxruntime_ep_nv_tensorrt_rtx_cu13==0.5.0)
	touch $@

# Wheel and source distribution, checked as a registry would; the checker has an environment of its own.
dist: .venv/.ready .venvs/twine/bin/twine
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	.venvs/twine/bin/twine check --strict dist/*

.venvs/twine/bin/twine:
	$(PYTHON) -m venv .venvs/twine
	.venvs/twine/bin/pip install -q twine==7.0.0

clean:
	rm -rf .venv .venvs build dist out *.egg-info
