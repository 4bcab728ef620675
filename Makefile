# SPDX-License-Identifier: Apache-2.0
#
# Shorthands; the build itself is CMake's (CMakeLists.txt, CMakePresets.json).
.DEFAULT_GOAL := help
.PHONY: demo test bench docs format clean help
export NINJA_STATUS := [%f/%t]$() $()

help: ## what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: ## build the program and show two sites distil key for two applications
	@.ci/packages demo
	@mkdir -p build
	@cmake --preset demo >build/demo-configure.log 2>&1 || { cat build/demo-configure.log; exit 1; }
	@cmake --build --preset demo
	@build/demo/qkd004 demo

test: ## build and run all tests, also under sanitizers
	@.ci/packages test
	@.ci/docs
	@.ci/test

bench: ## build the benchmarks at -O2 and run them one after the other
	@.ci/packages bench
	@mkdir -p build
	@cmake --preset release >build/release-configure.log 2>&1 || { cat build/release-configure.log; exit 1; }
	@cmake --build --preset release --target benchmarks qkd004_python
	@for b in build/release/benchmarks/bench_*; do \
	  if [ -f "$$b" ] && [ -x "$$b" ]; then echo "== $${b##*/}"; "$$b" || exit 1; fi; done
	@echo "== python_bench"
	@PYTHONPATH=build/release/python build/venv/bin/python -B benchmarks/python_bench.py

docs: ## make the documentation site, build/docs/html
	@.ci/packages docs
	@.ci/docs
	@docs/build.py
	@echo "docs: build/docs/html/index.html"

format: ## lay out the C++ sources by .clang-format
	@.ci/packages format
	@find include src capi bindings tests benchmarks examples -name '*.[ch]pp' -o -name '*.h' 2>/dev/null \
	  | xargs -r clang-format-14 -i

clean: ## remove build/
	@rm -rf build
