# make demo   the main jobs, offline, in a few minutes: a GAN learns to draw digits, a BERT what praise is
# make test   the test suite
# make docs   the documentation as a site, in site/
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: demo test docs lint clean

# torch first and pinned, so that no other package's wider request picks another build
$(BIN)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[offline]'
	touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(BIN)/.installed
	$(BIN)/adverb demo

test: $(BIN)/.installed-dev
	$(BIN)/python -m pytest -n auto

docs: $(BIN)/.installed-dev
	$(BIN)/python -m mkdocs build --strict

lint: $(BIN)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache
