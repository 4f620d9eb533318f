#!/bin/sh
# Usage: tests/engines/prepare-triton.sh PYTHON FOLDER
#
# Makes FOLDER an environment with a Triton server for the processor, FOLDER/bin/triton, which takes tritonserver's own
# options. PYTHON is 3.11, 3.12 or 3.13 with a shared libpython. Set CLEAD_TRITON=FOLDER for the tests that need Triton.
set -eu

python=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

uv=$("$(dirname "$0")/../../requirements/find-uv.sh" "$python" "$scratch")
"$uv" venv --quiet --clear --python "$python" "$folder"
# The server's python backend was made for NumPy 1.
"$uv" pip install --quiet --python "$folder/bin/python" nvidia-pytriton==0.7.0 'numpy<2' 'onnxruntime>=1.27'

ask() { "$folder/bin/python" -c "import sys, sysconfig; print($1)"; }
packages=$(ask "sysconfig.get_path('platlib')")
libpython=$(ask "sysconfig.get_config_var('LIBDIR')")
server=$packages/pytriton/tritonserver
# Triton looks for the stub of its one Python here; the package brings one for each.
cp "$server/python_backend_stubs/$(ask "'%d.%d' % sys.version_info[:2]")/triton_python_backend_stub" \
    "$server/backends/python/"
cat >"$folder/bin/triton" <<END
#!/bin/sh
export LD_LIBRARY_PATH='$libpython:$packages/nvidia_pytriton.libs'
exec '$server/bin/tritonserver' --backend-directory='$server/backends' "\$@"
END
chmod +x "$folder/bin/triton"
