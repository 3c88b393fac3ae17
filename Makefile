# Two commands for a fresh machine: `make demo` and `make test`. Python 3.11+, make and a package index are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO   := .demo
WORKERS ?= 2
PIPESCHED := $(abspath $(BIN))/pipesched

.PHONY: demo test check quick docs site format clean

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pipesched needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs,notify]'
	$(BIN)/python -m compileall -q src  # where PYTHONDONTWRITEBYTECODE is set, each start would compile anew
	@touch $@

## The main job on examples/blog: index it, ask it something, show that a second run finds nothing to do.
demo: $(INSTALLED)
	rm -rf $(DEMO) && mkdir $(DEMO)
	cd $(DEMO) && $(PIPESCHED) init
	cd $(DEMO) && $(PIPESCHED) run --data-dir ../examples/blog --blog-base-url https://blog.example
	cd $(DEMO) && $(PIPESCHED) search "How do I keep a sourdough starter alive?" -n 3
	cd $(DEMO) && $(PIPESCHED) run --data-dir ../examples/blog --blog-base-url https://blog.example
	cd $(DEMO) && $(PIPESCHED) next --count 3
	@echo "The index is in $(DEMO)/db/vector_store, the reports in $(DEMO)/output."

## Everything: format, lint, types, layers, all tests.
test: check
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## What one runs while writing: no slow tests.
quick: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" -q

## docs/commands.md and the manual page, from the commands themselves; docs/schemas.md and docs/schemas, from the models.
docs: $(INSTALLED)
	$(BIN)/python scripts/man_page.py > man/pipesched.1.new && mv man/pipesched.1.new man/pipesched.1
	$(BIN)/python scripts/command_reference.py > docs/commands.md.new && mv docs/commands.md.new docs/commands.md
	$(BIN)/python scripts/json_schemas.py

## The documentation as a site, in site/; what does not fit together fails.
site: $(INSTALLED)
	$(BIN)/zensical build --clean --strict

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(DEMO) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
