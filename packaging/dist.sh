#!/usr/bin/env bash
# What a release consists of, into dist/: a static binary as a tar.gz, the same as a Debian package, a bill of materials, and their
# checksums. Called by `make dist`; docs/releases.md says what each is for. On Debian; installs what is missing.
#
# The same commit gives the same bytes wherever it lies: times come from SOURCE_DATE_EPOCH (the commit's, unless it is set), and
# paths of this machine are mapped away.

set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_DEB=3.8.0
CARGO_CYCLONEDX=0.5.9

root=$PWD
machine=$(uname -m)
triple=$machine-unknown-linux-musl
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR=$target
version=$(sed -n '/^\[workspace\.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C.UTF-8
umask 022

debian_packages() {
    local missing=()
    command -v musl-gcc >/dev/null || missing+=(musl-tools)
    command -v strip >/dev/null || missing+=(binutils)
    command -v dpkg-deb >/dev/null || missing+=(dpkg)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v curl >/dev/null || missing+=(curl)
    command -v help2man >/dev/null || missing+=(help2man)
    ((${#missing[@]})) || return 0

    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qy --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}"
}

# tool NAME VERSION: from crates.io, beside what is built.
tool() {
    grep -qs "^\"$1 $2 " "$target/tools/.crates.toml" || cargo install --locked --root "$target/tools" "$1@$2"
}

# aws-lc, jemalloc and SQLite are C; cc takes their compiler's flags from CFLAGS_<target>.
build() {
    local home=${CARGO_HOME:-$HOME/.cargo} env=${triple//-/_}
    local maps=("$root=/gema" "$target=/target" "$home=/cargo")
    local rust='' c=''
    for map in "${maps[@]}"; do
        rust+=" --remap-path-prefix=$map"
        c+=" -ffile-prefix-map=$map"
    done
    rustup target list --installed | grep -qx "$triple" || rustup target add "$triple"
    env "CARGO_TARGET_${env^^}_RUSTFLAGS=${rust# }" "CFLAGS_$env=${c# }" \
        cargo build --release --locked --package gema --target "$triple"
}

# What is in the release, in dist/stage, where Cargo.toml's assets of the Debian package are as well.
stage() {
    rm -rf dist
    mkdir -p dist/stage
    install -m 755 "$target/$triple/release/gema" dist/stage/gema
    strip dist/stage/gema
    help2man --no-info --name 'a broadcast server that speaks the Pusher protocol' \
        --source "gema $version" --output dist/stage/gema.1 dist/stage/gema
    # The package puts the program where packages put programs.
    sed -e 's|/usr/local/bin/gema|/usr/bin/gema|' -e 's|/etc/systemd/system/gema.service|of the package gema|' \
        config/gema.service >dist/stage/gema.service
    # Debian wants its own form of a changelog; ours is beside it.
    printf 'gema (%s-1) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" \
        "$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)" "$(date -R -d "@$SOURCE_DATE_EPOCH")" \
        >dist/stage/changelog
    gzip -9n <CHANGELOG.md >dist/stage/changelog.gz
}

archive() {
    local name=gema-$version-$triple
    mkdir -p "dist/$name/config"
    cp dist/stage/gema dist/stage/gema.1 README.md CHANGELOG.md LICENSE "dist/$name/"
    cp config/{default.toml,gema.service,99-gema.conf,haproxy.cfg,nginx.conf,prometheus.yml,alerts.yml,grafana.json} \
        "dist/$name/config/"
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C dist -cf - "$name" |
        gzip -9n >"dist/$name.tar.gz"
    rm -r "dist/${name:?}"
}

package() {
    "$target/tools/bin/cargo-deb" deb --no-build --no-strip --package gema --output dist/
}

# Of the crates that are in the binary. The tool writes beside the manifests, so it gets a copy of the sources.
materials() {
    local copy
    copy=$(mktemp -d)
    git ls-files -z '*.toml' '*.rs' Cargo.lock | xargs -0 cp --parents -t "$copy"
    (cd "$copy" && "$target/tools/bin/cargo-cyclonedx" cyclonedx --format json --target "$triple" --no-build-deps --quiet)
    sed "s|$copy|/gema|g" "$copy/gema.cdx.json" >"dist/gema-$version.cdx.json"
    rm -rf "$copy"
}

debian_packages
tool cargo-deb "$CARGO_DEB"
tool cargo-cyclonedx "$CARGO_CYCLONEDX"
build
stage
archive
package
materials
rm -r dist/stage
(cd dist && sha256sum -- * >SHA256SUMS)
node --test tests/dist/*.test.js
cat dist/SHA256SUMS
