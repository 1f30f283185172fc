# What people type; how it is done stands in scripts/.
PREFIX ?= /usr
SYSCONFDIR ?= /etc
DESTDIR ?=

.PHONY: run build test lint bench install deb rpm

run:
	@scripts/run.sh

build:
	@scripts/deps.sh
	@. scripts/env.sh && cargo build --release --locked --package s3-orchestrator

test:
	@scripts/test.sh

lint:
	@scripts/deps.sh
	@scripts/lint.sh

bench:
	@scripts/bench.sh $(BENCH)

install: build
	@scripts/install.sh "$(DESTDIR)" "$(PREFIX)" "$(SYSCONFDIR)"

deb:
	@scripts/deps.sh
	@scripts/package.sh deb

rpm:
	@scripts/deps.sh
	@scripts/package.sh rpm
