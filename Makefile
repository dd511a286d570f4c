# Every target sets up .venv by itself when it is missing or older than what it is made from.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# A process on each core: threads of theirs would only wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

.PHONY: demo test test-all test-postgres test-lowest lint bench pictures clean

demo: $(READY)
	$(BIN)/hippomem demo

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) -m ""

test-postgres: $(READY)
	HIPPOMEM_TEST_DB=postgres $(PYTEST) -m "not slow and not sqlite" \
	  --ignore tests/connectors --ignore tests/eval

# With the lowest versions that pyproject.toml allows; torch aside, whose old ones bring gigabytes of CUDA.
test-lowest: $(READY)
	mkdir -p build && grep "^torch==" constraints.txt > build/torch.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/lowest
	$(BIN)/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct --only-binary :all: \
	  --override build/torch.txt --editable ".[dev]"
	OMP_NUM_THREADS=1 build/lowest/bin/pytest -n auto --dist worksteal -W default

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# DATA: a folder with the files that eval/README.md names.
DATA ?= ../shared/data
bench: $(READY)
	$(BIN)/hippomem eval multihop --questions $(DATA)/musique_train/musique_train.json.gz \
	  --corpus $(DATA)/musique_train/musique_train_corpus.json.gz --out bench/musique_train
	$(BIN)/hippomem eval latency --questions $(DATA)/musique_train/musique_train.json.gz \
	  --corpus $(DATA)/musique_train/musique_train_corpus.json.gz --out bench/latency

# Those of the console in the documents. Needs a Chromium.
pictures: $(READY)
	$(BIN)/python tests/connectors/console_picture.py connectors

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv build *.egg-info bench
