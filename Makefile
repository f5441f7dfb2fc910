# Collegium. `make help` lists what there is; the work itself is in scripts/setup and scripts/demo.

PYTHON ?= python3
STORE ?= embedded
ROUNDS ?=
DEMO_ARGS ?=
PYTEST_ARGS ?=
SOAK_ARGS ?=
WORKERS ?= 2

PY := .venv/bin/python
# Puts the tools of this clone first, and ends whatever the command leaves running, interrupted or not.
RUN := exec $(PY) -m scripts.setup.supervise

export TORCH UV

.PHONY: audit-deps bench-soak fuzz abi coverage mutants slither help setup kubo demo test test-python test-contracts bench lint wheel sbom release format lock clean
.NOTPARALLEL:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

setup: ## Install everything into this clone (TORCH=cpu for the small PyTorch)
	@exec $(PYTHON) -m scripts.setup

kubo: ## Build or find Kubo, the IPFS daemon
	@exec $(PYTHON) -m scripts.setup kubo

demo: setup $(if $(filter kubo,$(STORE)),kubo) ## Run a whole federation (STORE=embedded|kubo, ROUNDS=10)
	@$(RUN) $(PY) -m scripts.demo --store $(STORE) $(if $(ROUNDS),--rounds $(ROUNDS)) $(DEMO_ARGS)

test: setup kubo test-contracts test-python ## Set up and run all tests

test-contracts: setup
	@$(RUN) $(PY) -m scripts.export_abi --check
	@$(RUN) $(PY) -m scripts.release.standard_json --check
	@$(RUN) forge test

test-python: setup kubo
	@# Flows run real processes against real clocks: what failed beside others is run once more, alone. A fault fails twice.
	@($(RUN) $(PY) -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)) \
		|| ($(RUN) $(PY) -m pytest --last-failed --last-failed-no-failures none $(PYTEST_ARGS))

abi: setup ## Write what the packages carry of the contracts: ABIs, compiler inputs, hashes
	@$(RUN) $(PY) -m scripts.export_abi
	@$(RUN) $(PY) -m scripts.release.standard_json

wheel: setup ## Build the wheel and the source archive of the last commit into build/release
	@$(PY) -m scripts.release.packages

sbom: setup ## Write the bill of materials of the wheel into build/release
	@$(PY) -m scripts.release.sbom

release: setup ## Wheel, source archive, bill of materials, checksums in build/release
	@$(PY) -m scripts.release

slither: setup ## Static analysis of the contracts; fails on an unexplained high or medium finding
	@$(RUN) $(PY) -m scripts.security.slither

coverage: setup ## Branch coverage of the contracts; fails on an unexplained branch
	@$(RUN) $(PY) -m scripts.security.coverage

mutants: setup ## Break each explained branch of a contract; the test named for it must fail
	@$(RUN) $(PY) -m scripts.security.coverage --mutants

audit-deps: setup ## Ask the advisory databases about every pinned package; check licenses
	@$(PY) -m scripts.security.dependencies

fuzz: setup ## Fuzz every decoder of foreign bytes for minutes (FUZZ=30 times the examples of a test run)
	@COLLEGIUM_FUZZ=$(or $(FUZZ),30) $(RUN) $(PY) -m pytest tests/fuzz -q $(PYTEST_ARGS)

bench: setup kubo ## Measure, and write benchmarks/results.json
	@$(RUN) $(PY) -m benchmarks

bench-soak: setup ## Run federations for long, kill their processes, write benchmarks/soak.json (SOAK_ARGS=crowd-32)
	@$(RUN) $(PY) -m benchmarks.soak $(SOAK_ARGS)

lint: setup ## Check style and types
	@$(PY) -m ruff check .
	@$(PY) -m mypy collegium client/collegium_client coordinator/collegium_coordinator scripts

format: setup ## Sort imports and apply what the linter can fix
	@$(PY) -m ruff check --fix .

lock: ## Resolve requirements/dev.txt anew (needs uv)
	@rm -f requirements/dev.txt
	@uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --all-extras \
		-c requirements/constraints.txt --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --no-annotate -o requirements/dev.txt

clean: ## Remove everything that was installed or generated in this clone
	@rm -rf .venv node_modules build .build contracts/.cache *.egg-info
