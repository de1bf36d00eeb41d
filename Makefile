# The front door. Each of these works on a fresh Debian 12 machine; the presets are in CMakePresets.json.
MAKEFLAGS += --no-print-directory
JOBS ?= $(shell nproc)
STATE_DIR ?= $(CURDIR)/build/state
HTTP_PORT ?= 0
PROMETHEUS_PORT ?= 0

.PHONY: help run test build bench bench-cluster endurance storm check format clean deps
.DEFAULT_GOAL := help

help:
	@echo "make run     packages, release build, then the example project through worker-agents, live"
	@echo "make test    packages, release build, every test"
	@echo "make build   build/release/worker-agents"
	@echo "make bench   the benchmarks, as tables"
	@echo "make bench-cluster   of these: tickets through a real Kafka broker, beside raw echoes and a peer"
	@echo "make endurance   three workers on real servers, five minutes of disturbances, then every promise is checked"
	@echo "make storm   members that come and go every second, two minutes cooperative and two eager"
	@echo "make check   all that CI checks (.ci/run)"
	@echo "make format  clang-format over all sources"
	@echo "make clean   remove build/"

deps:
	@scripts/install-deps

build: deps
	@cmake --preset release
	@cmake --build --preset release --target worker-agents -j$(JOBS)

# Any free ports, and a state folder of its own: it neither disturbs a worker on this machine nor is disturbed by one.
# (In a very deep checkout the path would be too long for a socket: then the usual state folder is taken.)
run: build
	@state='$(STATE_DIR)'; \
	if [ $${#state} -le 95 ]; then export STATE_DIR="$$state"; else unset STATE_DIR; fi; \
	HTTP_PORT='$(HTTP_PORT)' PROMETHEUS_PORT='$(PROMETHEUS_PORT)' \
	    build/release/worker-agents dev --example project --exit

test: deps
	@cmake --preset release
	@cmake --build --preset release -j$(JOBS)
	@scripts/run-tests build/release

bench: deps
	@cmake --preset bench
	@cmake --build --preset bench -j$(JOBS)
	@scripts/run-bench build/bench
	@$(MAKE) bench-cluster

# TICKETS, SECONDS and MORE (further arguments of tests/cluster/endurance.py) may be given.
TICKETS ?= 5000
SECONDS ?= 300
endurance: build
	@python="$$(tests/cluster/prepare | tail -n 1)" && tests/peers/prepare >/dev/null && \
	    WA_BINARY='$(CURDIR)/build/release/worker-agents' "$$python" -B tests/cluster/endurance.py \
	    --tickets '$(TICKETS)' --seconds '$(SECONDS)' --avro $(MORE)

# Members that come and go every second, for STORM_SECONDS each with cooperative and with eager assignment.
STORM_SECONDS ?= 120
storm: build
	@python="$$(tests/cluster/prepare | tail -n 1)" && tests/peers/prepare >/dev/null && \
	    for assignment in cooperative-sticky range; do \
	        echo "assignment: $$assignment" && WA_BINARY='$(CURDIR)/build/release/worker-agents' "$$python" -B \
	        tests/cluster/storm.py --tickets 1000 --seconds '$(STORM_SECONDS)' --assignment "$$assignment" || exit 1; \
	    done

# ROUNDS and RECORDS may be given.
ROUNDS ?= 3
RECORDS ?= 100000
bench-cluster: deps
	@cmake --preset bench
	@cmake --build --preset bench -j$(JOBS) --target kafka_bench worker-agents
	@bench/cluster/run build/bench/bench/kafka_bench build/bench/worker-agents --rounds '$(ROUNDS)' --records '$(RECORDS)'

check:
	@.ci/run

format: deps
	@git -c safe.directory='$(CURDIR)' ls-files '*.h' '*.cpp' '*.c' | grep -E '^(src|tests|spawn-helper|bench)/' | xargs clang-format-19 -i

clean:
	@rm -rf build
