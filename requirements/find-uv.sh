#!/bin/sh
# Usage: requirements/find-uv.sh PYTHON FOLDER
#
# Prints the path of uv: the one on PATH, else the one in FOLDER, which is put there when there is none. Fails where
# uv cannot be had.
set -eu

if command -v uv; then exit; fi
if [ ! -x "$2/bin/uv" ]; then
    # A Python without pip can still make an environment that has it; that takes longer.
    if "$1" -c 'import pip' 2>/dev/null; then
        PIP_ROOT_USER_ACTION=ignore "$1" -m pip install --quiet --disable-pip-version-check --target "$2" uv >&2
    else
        "$1" -m venv --clear "$2" >&2
        "$2/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2
    fi
fi
printf '%s\n' "$2/bin/uv"
