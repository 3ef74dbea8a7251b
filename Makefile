# The two main commands are `make run` and `make test`. Both first install what they need: Debian
# packages (with sudo unless you are root) and a virtual environment in .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test unit test-web test-clients test-install test-install-arm64 test-container \
	test-container-arm64 soak bench-accuracy bench-speed bench-words bench-fleet lint coverage dist \
	addon icons lock schemas clean apt apt-test

# Python keeps what it has compiled: without that, tests take twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
CONFIG ?=
MICS ?=
BENCH ?=
SPEECH ?=
# Tests that run beside each other, and unit tests, which wait for nothing.
WORKERS ?= 4
UNIT_WORKERS ?= 2
WITH_SPEECH = $(if $(SPEECH),--speech $(SPEECH))
PIP := .venv/bin/pip --disable-pip-version-check
LOCK := systemd/requirements.lock
LOCK_WEB := systemd/requirements-web.lock
LOCK_DEV := tests/requirements.lock

APT_RUN := python3-venv libportaudio2 mosquitto
APT_TEST := $(APT_RUN) mosquitto-clients pulseaudio pulseaudio-utils libasound2-plugins \
	espeak-ng openssl rabbitmq-server exfatprogs exfat-fuse zsh

# Installs only what is missing, so that a second run needs no password.
define apt_install
	@missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
		echo "Installing Debian packages:" $$missing; \
		$$sudo apt-get update -qq && \
		$$sudo env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

help:
	@echo "make run                          play a recorded meeting live; needs no setup"
	@echo "make run MICS=1                   speak and read along: your microphones, a real model"
	@echo "make run CONFIG=config/node.yaml  run the node with your own broker and microphones"
	@echo "make test                         run all tests, on real components"
	@echo "make unit                         run the unit tests, in seconds"
	@echo "make test-install                 test the installer in a clean Debian (root, a few minutes)"
	@echo "make test-install-arm64           the same on an emulated 64-bit ARM (root, 10 min)"
	@echo "make test-container               build the container's image and run it (root, a few minutes)"
	@echo "make test-container-arm64         the same on an emulated 64-bit ARM (root, half an hour)"
	@echo "make test-clients                 test with real Home Assistant and Node-RED, fetched once"
	@echo "make test-web                     test the web page in a real Chromium"
	@echo "make soak                         kill the node a hundred times (about 10 min)"
	@echo "make bench-accuracy               compare who said what, and when, with other ways (hours)"
	@echo "make bench-speed                  compare the cost of a meeting with other ways (an hour)"
	@echo "make bench-words SPEECH=folder    compare word errors on recordings with faster-whisper;"
	@echo "                                  SPEECH= also works with the two above"
	@echo "make bench-fleet                  see how 1 to 16 workers serve 100 nodes (15 min)"
	@echo "make lint                         run ruff and mypy"
	@echo "make coverage                     check that unit tests cover every branch of node/core"
	@echo "make dist                         build source distribution and wheel in dist/"
	@echo "make addon                        make the Home Assistant add-on in dist/addon/"

run: apt .venv/run
ifneq ($(MICS),)
	@.venv/bin/python -m node demo --mics $(if $(CONFIG),--config $(CONFIG))
else ifeq ($(CONFIG),)
	@.venv/bin/python -m node demo
else
	@.venv/bin/python -m node run --config $(CONFIG)
endif

# The real `base` model that some tests use (150 MB) is fetched once, to ~/.cache/scribe-node, unless
# SCRIBE_BASE names a folder that has it. Without a network those tests are skipped.
REAL_BASE := .venv/bin/python -m tests.rig.weights

# A second broker with shared subscriptions, where there is a wheel of it: else its test is skipped.
RUMQTTD := $(PIP) install -q --require-hashes --only-binary :all: -r tests/requirements-rumqttd.lock

# A file at a time, so that its tests share what they have made.
PARALLEL := --dist loadfile --no-loadscope-reorder

# Most tests wait in real time, so WORKERS of them run beside each other. Those that are marked
# `alone` follow one by one, whatever came of the others; the worse status counts.
test: apt-test .venv/dev
	$(REAL_BASE)
	@$(RUMQTTD) || echo "There is no rumqttd for this machine: its test is skipped."
	@trap 'exit 130' INT; beside=0; alone=0; \
	.venv/bin/python -m pytest -n $(WORKERS) $(PARALLEL) -m "not install and not container and not alone" || beside=$$?; \
	[ $$beside = 2 ] && exit 2; \
	.venv/bin/python -m pytest -m "alone and not install and not container" || alone=$$?; \
	exit $$((beside > alone ? beside : alone))

unit: .venv/dev
	.venv/bin/python -m tests.rig.beside $(UNIT_WORKERS) tests/unit

test-install: apt-test .venv/dev
	$(call apt_install,debootstrap unzip)
	.venv/bin/python -m pytest -m install --durations 0

# The image is built on a Debian that debootstrap makes, so no registry is needed.
test-container: apt-test .venv/dev
	$(call apt_install,debootstrap podman crun docker-compose)
	.venv/bin/python -m pytest -m container --durations 0

# The same two on an emulated 64-bit ARM: ten minutes to an hour each. It registers an ARM emulator
# with the kernel, until the next boot.
BINFMT := /proc/sys/fs/binfmt_misc
define emulate_arm64
	$(call apt_install,qemu-user-static)
	[ -e $(BINFMT)/register ] || mount -t binfmt_misc binfmt_misc $(BINFMT)
	[ -e $(BINFMT)/qemu-aarch64 ] || cat tests/system/qemu-aarch64.binfmt > $(BINFMT)/register
endef

test-install-arm64: apt-test .venv/dev
	$(call apt_install,debootstrap unzip)
	$(emulate_arm64)
	INSTALL_ARCHITECTURE=arm64 .venv/bin/python -m pytest -m install --durations 0

test-container-arm64: apt-test .venv/dev
	$(call apt_install,debootstrap podman crun docker-compose)
	$(emulate_arm64)
	CONTAINER_ARCHITECTURE=arm64 .venv/bin/python -m pytest -m container --durations 0

# Home Assistant and Node-RED are kept in ~/.cache/scribe-node, or CLIENTS_DIR, for the next run.
test-clients: apt-test .venv/dev
	$(call apt_install,$(if $(shell command -v npm),,nodejs npm))
	.venv/bin/python -m tests.rig.clients.install
	CLIENTS=1 .venv/bin/python -m pytest tests/clients

test-web: apt-test .venv/dev
	$(call apt_install,chromium)
	BROWSER_TESTS=1 .venv/bin/python -m pytest tests/browser

soak: apt-test .venv/dev
	.venv/bin/python -m tests.bench.soak

# For a part of it: make bench-accuracy BENCH="--quick", or BENCH="--systems oracle drop", an hour for
# this node alone. BENCH=--help lists the options. Meetings are kept in build/accuracy. SPEECH names a
# folder of recordings (see tests/bench/speech.py); without it, espeak-ng speaks.
bench-accuracy: apt-test .venv/bench
	$(REAL_BASE)
	.venv/bin/python -m tests.bench.accuracy $(WITH_SPEECH) $(BENCH)

# Options: BENCH=--help. Models are kept in ~/.cache/scribe-node; those that are not available get
# random weights. Peers take part if installed:
# .venv/bin/pip install openai-whisper wyoming-faster-whisper
bench-speed: apt-test .venv/dev
	$(REAL_BASE)
	.venv/bin/python -m tests.bench.speed $(WITH_SPEECH) $(BENCH)

# Without SPEECH it says where to get recordings.
bench-words: apt-test .venv/dev
	.venv/bin/python -m tests.bench.words $(WITH_SPEECH) $(BENCH)

# The engine's own time is measured once, on a quiet machine if there is one, and kept in build/fleet.
# BENCH=--help lists the options.
bench-fleet: apt-test .venv/dev
	$(REAL_BASE)
	.venv/bin/python -m tests.bench.fleet $(WITH_SPEECH) $(BENCH)

lint: .venv/dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

# Every branch of the core must be covered by the unit tests alone.
coverage: .venv/dev
	.venv/bin/coverage erase
	.venv/bin/coverage run -m tests.rig.beside $(UNIT_WORKERS) tests/unit
	.venv/bin/coverage combine -q
	.venv/bin/coverage report

dist: .venv/dev
	.venv/bin/python -m build

# Home Assistant builds an add-on from the folder of its config.yaml alone: all that the Dockerfile
# copies has to be in it.
ADDON := dist/addon
ADDON_FILES := config.yaml DOCS.md icon.png logo.png translations
BUILT_FROM := .dockerignore CHANGELOG.md Dockerfile LICENSE README.md config docs node pyproject.toml systemd
addon:
	rm -rf $(ADDON)
	mkdir -p $(ADDON)/scribe_node
	cp repository.yaml $(ADDON)
	cp -r $(BUILT_FROM) $(addprefix config/home-assistant/addon/,$(ADDON_FILES)) $(ADDON)/scribe_node
	cd $(ADDON)/scribe_node/config/home-assistant/addon && rm -r $(ADDON_FILES)
	find $(ADDON) -name __pycache__ -prune -exec rm -r {} +
	rm -f $(ADDON)/scribe_node/config/*password*

ICON := node/web/static/icon.svg
LOGO := config/home-assistant/addon/logo.svg
icons:
	$(call apt_install,librsvg2-bin fonts-dejavu-core)
	rsvg-convert --width 128 --height 128 --output $(dir $(LOGO))icon.png $(ICON)
	rsvg-convert --width 250 --height 100 --output $(dir $(LOGO))logo.png $(LOGO)

schemas: .venv/dev
	.venv/bin/python -m tests.rig.schemas
	.venv/bin/python -m tests.rig.reference

lock: .venv/dev
	.venv/bin/python -m tests.lock

apt:
	$(call apt_install,$(APT_RUN))

apt-test:
	$(call apt_install,$(APT_TEST))

.venv/bin/python: | apt
	@$(PYTHON) -m node --version >/dev/null
	$(PYTHON) -m venv .venv

.venv/run: pyproject.toml $(LOCK) $(LOCK_WEB) | .venv/bin/python
	$(PIP) install -q --require-hashes -r $(LOCK) -r $(LOCK_WEB)
	$(PIP) install -q --no-deps -e .
	@touch $@

.venv/dev: pyproject.toml $(LOCK) $(LOCK_WEB) $(LOCK_DEV) | .venv/bin/python
	$(PIP) install -q --require-hashes -r $(LOCK) -r $(LOCK_WEB) -r $(LOCK_DEV)
	$(PIP) install -q --no-deps -e .
	@touch $@ .venv/run

# meeteval is published only as source.
.venv/bench: .venv/dev
	$(call apt_install,$(if $(shell command -v g++),,g++ python3-dev))
	$(PIP) install -q -e '.[bench]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info
