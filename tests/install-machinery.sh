#!/bin/sh
# Usage: tests/install-machinery.sh FOLDER
#
# Gets what some tests need besides Python packages: Chromium from Debian's archive, and a Triton server in FOLDER/triton.
# Whatever cannot be had is named and left out; the tests that need it are then skipped.
set -u

say() { printf 'clead: %s\n' "$*" >&2; }
python=${PYTHON-python3.11}

if ! command -v chromium >/dev/null; then
    say "installing chromium"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium; } \
        >/dev/null 2>&1 || say "chromium cannot be installed here: no browser tests"
fi
if [ -z "${CLEAD_TRITON-}" ]; then
    say "making $1/triton"
    "$(dirname "$0")/engines/prepare-triton.sh" "$python" "$1/triton" >/dev/null 2>&1 || {
        rm -rf "$1/triton"
        say "a Triton server cannot be had here: no tests with a real one"
    }
fi
