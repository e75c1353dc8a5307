#!/usr/bin/env bash
# Build the Dockerfile's image without Docker, and run a small comparison in it.
#
# Needs root, a network, 25 GB where temporary files go, and Debian's buildah and debootstrap. The
# base is made by debootstrap, with Debian's Python in the place of the published image's; BASE
# names an image to build on instead. All that is made is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in buildah debootstrap; do
    command -v "$tool" > /dev/null || { echo "$0: $tool is missing: apt-get install $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "$0: expected to run as root" >&2; exit 2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/image.XXXXXX")
clean() {
    build umount --all > /dev/null 2>&1 || true
    umount --lazy "$work/storage/"* > /dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
}
trap clean EXIT
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
build() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }

if [ -z "${BASE:-}" ]; then
    debootstrap --variant=minbase --include=ca-certificates,python3-pip,python-is-python3 \
        bookworm "$work/debian"
    rm -rf "$work"/debian/usr/lib/python3*/EXTERNALLY-MANAGED "$work"/debian/var/cache/apt
    container=$(build from scratch)
    build add --quiet "$container" "$work/debian" /
    build commit --quiet --rm "$container" localhost/base
    rm -rf "$work/debian"
    BASE=localhost/base
fi

# Whom this machine trusts, the build trusts as well: a proxy may sign for the package index.
trusted=/etc/ssl/certs/ca-certificates.crt
share=(--volume "$trusted:$trusted:ro" --env "PIP_CERT=$trusted" --env "SSL_CERT_FILE=$trusted")
build build --build-arg "BASE=$BASE" "${share[@]}" --tag localhost/fedgen .
container=$(build from localhost/fedgen)
echo "image: $(du -sh "$(build mount "$container")" | cut -f1)"

in_it() { build run --user 1000 "$@"; }
status=0
in_it --env FEDGEN_REQUIRE_GPU=1 "$container" -- python -m fedgen compare --rounds 1 || status=$?
[ "$status" = 2 ] || { echo "$0: without a GPU expected exit code 2, received $status" >&2; exit 1; }
for engine in tensorflow jax; do
    in_it --env FEDGEN_REQUIRE_GPU=0 "$container" -- python -m fedgen compare --dataset digits \
        --rounds 1 --engine "$engine" --out "/runs/$engine"
    in_it "$container" -- test -s "/runs/$engine/report.html"
done
echo "built, and run"
