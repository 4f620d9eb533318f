#!/bin/sh
# Usage: requirements/lock.sh UV [--upgrade]
#
# Writes the pinned requirement files from pyproject.toml. Everything is resolved once, into test.txt; the serving
# files are cut from that resolution, so that all of them pin a package alike.
set -eu

uv=$1
shift
cd "$(dirname "$0")/.."

compile() {
    output=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --no-annotate --no-emit-index-url \
        --no-emit-find-links --custom-compile-command 'make lock' pyproject.toml --output-file "$output" "$@"
}

compile requirements/test.txt --extra test --extra cuda "$@"
for name in serve serve-gpu serve-cpu; do rm -f "requirements/$name.txt"; done
compile requirements/serve.txt --constraint requirements/test.txt
compile requirements/serve-gpu.txt --constraint requirements/test.txt --extra cuda
compile requirements/serve-cpu.txt --constraint requirements/test.txt --override requirements/cpu-overrides.txt
