# arpfast. `make` builds, `make demo` shows, `make test` proves; each installs first what it needs. `make help` has the rest.
PYTHON ?= python3
PY := .venv/bin/python
SOURCES := $(wildcard arpfast/*.pyx arpfast/*.pxd arpfast/*.h arpfast/*/*.pyx arpfast/*/*.pxd arpfast/*/*.h arpfast/*/*.bpf.c)
GENERATED := $(patsubst %.pyx,%.c,$(filter %.pyx,$(SOURCES)))
C = $(filter-out $(GENERATED),$(shell find arpfast bench lab tests -name '*.[ch]'))
WHICH ?= .
SECONDS ?= 600
ROUNDS ?= 5
TRIALS ?= 30
ONLY ?=
RESUME ?=

.PHONY: build programs demo demo-bgp demo-kubernetes demo-link test test-pure test-fuzz fuzz bench bench-check lint format clean help
build: .venv/.built

define right_python
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "arpfast: needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0])'
endef

define pip
$(PY) -m pip install --disable-pip-version-check -c deploy/constraints.txt $(1) >.venv/pip.log 2>&1 || { \
	grep -iE 'error|warning|could not' .venv/pip.log | tail -n 5 >&2; \
	echo "arpfast: pip could not install the Python packages; the whole log: .venv/pip.log" >&2; exit 1; }
endef

.venv/.packages-build: deploy/packages.txt deploy/install-packages
	@$(right_python)
	@deploy/install-packages build
	@mkdir -p .venv && touch $@

.venv/.packages-lab: deploy/packages.txt deploy/install-packages
	@$(right_python)
	@deploy/install-packages build lab
	@mkdir -p .venv && touch $@ .venv/.packages-build

.venv/.installed: pyproject.toml deploy/constraints.txt | .venv/.packages-build
	@echo "arpfast: making .venv (about a minute the first time)"
	@$(PYTHON) -m venv .venv
	@$(call pip,--upgrade setuptools Cython)
	@$(call pip,--no-build-isolation -e '.[dev]')
	@ls arpfast/succession.*.so >/dev/null 2>&1 && touch .venv/.compiled || true
	@touch $@

# The installation has compiled everything already: what is new since then is compiled here.
.venv/.built: .venv/.installed setup.py $(SOURCES)
	@[ -e .venv/.compiled ] && [ -z "$$(find setup.py $(SOURCES) -newer .venv/.compiled)" ] || { \
		echo "arpfast: compiling" && $(PY) setup.py --quiet build_ext --inplace && touch .venv/.compiled; }
	@touch $@

# What the lab's cluster is made of. Some ten minutes on two cores, once for all clones: it stays in the user's cache.
programs: .venv/.packages-lab .venv/.installed
	@$(PY) -m lab.programs

demo: .venv/.packages-lab .venv/.built
	@$(PY) -m lab.demo

demo-link: .venv/.packages-lab .venv/.built
	@$(PY) -m lab.demo_link

demo-kubernetes: .venv/.packages-lab .venv/.built programs
	@$(PY) -m lab.demo_kubernetes

demo-bgp: .venv/.packages-lab .venv/.built programs
	@$(PY) -m lab.demo_bgp

# What needs one core and no quiet goes side by side; what listens to a network has the machine for itself.
test: .venv/.packages-lab .venv/.built programs
	@$(MAKE) --no-print-directory -j2 lint test-pure test-fuzz
	@$(PY) -P -m pytest tests/real

test-pure: .venv/.built
	@$(PY) -P -m pytest --ignore=tests/real --ignore=tests/fuzz

test-fuzz: .venv/.packages-lab .venv/.built
	@$(PY) -P -m pytest -q -p no:cacheprovider tests/fuzz

fuzz: .venv/.packages-lab
	@tests/fuzz/run $(SECONDS)

bench: .venv/.packages-lab .venv/.built programs
	@$(PY) -P -m pytest $(if $(filter .,$(WHICH)),bench $(addprefix --ignore=bench/bench_,failover.py calm.py check.py services.py speakers.py many.py withdraw.py),bench/bench_$(WHICH).py) -s -q \
	    -o faulthandler_timeout=0 --rounds $(ROUNDS) --trials $(TRIALS) --only '$(ONLY)' --seconds $(SECONDS) $(if $(RESUME),--resume)

# Whether anything has become slower than bench/bounds.toml allows: some four minutes.
bench-check: .venv/.packages-lab .venv/.built programs
	@$(PY) -P -m pytest bench/bench_check.py -s -q -o faulthandler_timeout=0 --rounds 5

lint: .venv/.built
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/lint-imports --no-cache >.venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }
	@.venv/bin/clang-format --dry-run -Werror $(C)
	@deploy/lint-cython

format: .venv/.built
	@.venv/bin/ruff check --quiet --fix . ; .venv/bin/ruff format --quiet .
	@.venv/bin/clang-format -i $(C)

help:
	@echo "make                   builds .venv/bin/arpfast"
	@echo "make demo              hosts that share addresses, and fail; also demo-link, demo-kubernetes, demo-bgp"
	@echo "make test              everything (some twenty minutes), as root; test-pure: two minutes, without root"
	@echo "make lint, make format what the style asks for, and what can be done about it"
	@echo "make fuzz              looks for faults for SECONDS=$(SECONDS)"
	@echo "make bench             measures (an hour), or one question of bench/: WHICH=flood ROUNDS=$(ROUNDS)"
	@echo "make bench-check       has anything become slower than bench/bounds.toml allows?"
	@echo "make programs          builds what the lab's cluster is made of (ten minutes, once); test and demos do it, too"
	@echo "make clean             removes what was built and installed here"

clean:
	@rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@rm -rf $(GENERATED) .import_linter_cache
	@find arpfast -name '*.so' -delete
	@find arpfast bench deploy lab tests -name __pycache__ -prune -exec rm -rf {} +
