#!/bin/sh
# Usage: requirements/find-uv.sh PYTHON FOLDER
#
# Prints the path of uv: the one on PATH, else the one in the virtual environment FOLDER, which is made when there is
# none. Fails where uv cannot be had.
set -eu

if command -v uv; then exit; fi
if [ ! -x "$2/bin/uv" ]; then
    "$1" -m venv "$2" >&2
    "$2/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2
fi
printf '%s\n' "$2/bin/uv"
