# Two commands of a fresh machine: `make run` and `make test`. Each installs what it needs.
# A part of the tests: `make test ARGS="tests/vortex_dsl -k quest"`.
.PHONY: run test light check docs dist clean

RUN ?= --model smollm2 --ratio 4 --ratio 8 --candidates 150 --published-share 0.3 --workers 2 --seed 1

run: .venv/.run
	.venv/bin/vortex run $(RUN)

test: .venv/.test
	.ci/test $(ARGS)

# What needs no engine, no server and no patience.
light: .venv/.test
	.ci/test -m "not vllm and not postgres and not slow" $(ARGS)

check: .venv/.test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: .venv/.test
	.venv/bin/mkdocs build

dist: .venv/.test
	.venv/bin/hatchling build -d dist

clean:
	rm -rf .venv site dist results.db*

.venv/.run: pyproject.toml .ci/install
	.ci/install
	touch $@

.venv/.test: pyproject.toml .ci/install
	.ci/install dev,docs
	touch $@ .venv/.run
