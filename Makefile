# `make demo` and `make test` need python3 (3.10 to 3.13), git and make. Each makes .venv when it is
# not there yet, installs into it and runs. `make docs` builds the documents as a site into
# build/site. `make clean` removes what they made.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := ros,pointcloud,eval,heic,exr,export,table,ray,completion,quantize,docs,dev
APT := $(shell [ "$$(id -u)" = 0 ] && echo apt-get || echo sudo apt-get)
# Nothing newer than Python 3.10 knows; `long` is a method of torch's tensors, not Python 2's type.
OLDEST := --target=3.10- --violations --eval-annotations --exclude long
# timm, for tests of its towers: alone, because it asks for torchvision, of which no CPU build fits
# this torch, and in a folder of its own, so that transformers does not build on it.
TIMM := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps --upgrade --target $(VENV)/timm timm
# Threads that wait by spinning slow every other process on a shared machine.
export OMP_WAIT_POLICY ?= passive
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test lint fuzz clean system

demo: $(VENV)/.installed
	$(BIN)/tosa demo --out out

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q

# The fuzz tests with new inputs, TOSA_FUZZ_EXAMPLES each, and every write of a run failing once.
fuzz: $(VENV)/.installed
	TOSA_FUZZ=long $(BIN)/python -m pytest -q tests/fuzz tests/evaluation/test_crashes.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vermin --quiet $(OLDEST) benchmarks launch setup.py tests tosa_ros
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker/compose*.yaml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

# Fails at a broken link, an anchor that is not there, or a page outside the navigation.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.installed: setup.py constraints.txt | system
	$(PYTHON) -m venv $(VENV) || { echo 'python3 lacks venv: install your system'"'"'s python3-venv'; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[$(EXTRAS)]'
	$(TIMM)
	touch $@

# Open3D loads Debian's libusb-1.0.so.0, which no Python package brings.
system:
	@ldconfig -p 2>/dev/null | grep -q 'libusb-1.0.so.0' || { \
		command -v apt-get >/dev/null || { echo 'Open3D needs the library libusb-1.0: install it and run make again'; exit 2; }; \
		echo 'installing libusb-1.0-0, which Open3D loads'; \
		$(APT) update -qq && $(APT) install -y -qq libusb-1.0-0 || { \
			echo 'Open3D needs the Debian package libusb-1.0-0: install it and run make again'; exit 2; }; }

clean:
	rm -rf $(VENV) out build install log
