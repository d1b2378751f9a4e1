#!/usr/bin/env bash
# Builds the commit of dist/ once more, from a clone at another path into an empty target directory, and compares what comes out byte
# for byte. Called by `make again`; docs/releases.md says what has to be the same for it. Takes as long as the first build.

set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ! -f dist/SHA256SUMS ]]; then
    echo 'There is no dist/SHA256SUMS to compare with: run make dist first' >&2
    exit 1
fi
if [[ -n $(git status --porcelain) ]]; then
    echo 'The tree has changes that are not committed, and dist/ may hold them: commit, and run make dist again' >&2
    exit 1
fi

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git clone -q . "$copy/a-clone"
# The tools make the packages and are in none of them.
mkdir "$copy/an-empty-target"
[[ ! -d $target/tools ]] || cp -r "$target/tools" "$copy/an-empty-target/tools"
CARGO_TARGET_DIR=$copy/an-empty-target "$copy/a-clone/packaging/dist.sh"

if diff dist/SHA256SUMS "$copy/a-clone/dist/SHA256SUMS"; then
    echo 'The same bytes again'
else
    rm -rf dist-again
    cp -r "$copy/a-clone/dist" dist-again
    echo 'They differ: compare dist/ with dist-again/' >&2
    exit 1
fi
