#!/bin/sh
# Usage: requirements/install.sh PYTHON ENVIRONMENT REQUIREMENTS [NO_DEPENDENCIES]
#
# Makes the virtual environment ENVIRONMENT from the pinned REQUIREMENTS file and installs this project into it in
# place. What NO_DEPENDENCIES lists is installed last and without what it asks for (its pins contradict ours).
# uv does the work; where it cannot be had, pip does the same more slowly.
set -eu

python=$1
environment=$2
requirements=$3
no_dependencies=${4-}

say() { printf 'clead: %s\n' "$*" >&2; }
# Progress for people; nothing but problems for logs.
quiet=--quiet
if [ -t 2 ]; then quiet=; fi

say "making $environment (only once)"
# An environment that is half made, or was made by another Python, is made again rather than mended.
if [ -d "$environment" ] && [ ! -e "$environment/pyvenv.cfg" ] && ! rmdir "$environment" 2>/dev/null; then
    say "$environment holds something else than an environment: move it away, or name another ENVIRONMENTS"
    exit 1
fi
rm -rf "$environment"
mkdir -p "$(dirname "$environment")"

if uv=$("$(dirname "$0")/find-uv.sh" "$python" "$(dirname "$environment")/uv"); then
    "$uv" venv --quiet --python "$python" "$environment"
    install() { "$uv" pip install $quiet --python "$environment/bin/python" "$@"; }
    check() { "$uv" pip check --quiet --python "$environment/bin/python"; }
else
    say "uv could not be fetched; pip does the same, more slowly"
    "$python" -m venv "$environment"
    install() { "$environment/bin/python" -m pip install $quiet --disable-pip-version-check "$@"; }
    check() { "$environment/bin/python" -m pip check; }
fi

if ! install --requirement "$requirements"; then
    say "could not install $requirements; behind a package mirror, set UV_DEFAULT_INDEX to its address and try again"
    exit 1
fi
install --no-deps --editable .
check
if [ -n "$no_dependencies" ]; then install --no-deps --requirement "$no_dependencies"; fi
