.PHONY: run test lint build

build:
	@scripts/deps.sh build
	@. scripts/env.sh && cargo build --release --locked -p s3-orchestrator

run: build
	@. scripts/env.sh && exec "$$CARGO_TARGET_DIR/release/s3-orchestrator" serve

test:
	@scripts/deps.sh test
	@scripts/test.sh

lint:
	@scripts/lint.sh
