#!/usr/bin/env bash
# The Python packages that setup.py names, in a virtual environment that sees ROS's own:
#
#   docker/python_layer.sh VENV EXTRAS [--torch-backend cpu ...]
#
# EXTRAS are separated by commas; what follows them goes to `uv pip install`. NumPy stays below 2, as
# the message modules of Humble, Jazzy and Kilted are compiled against Ubuntu's NumPy 1; setuptools
# below 80, as colcon says; pytest below 8.4, whose successors launch_pytest does not know.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
mapfile -t extras < <(printf -- '--extra\n%s\n' ${2//,/ })
shift 2
"${PYTHON:-python3}" -m venv --system-site-packages "$venv"
sed 's/^numpy==.*/numpy<2/; s/^pytest==.*/pytest<8.4/' constraints.txt >"$venv/constraints.txt"
echo 'setuptools<80' >>"$venv/constraints.txt"
"$venv/bin/python" -m pip install --quiet --no-cache-dir -c "$venv/constraints.txt" uv
"$venv/bin/uv" pip install --python "$venv" --compile-bytecode \
    -c "$venv/constraints.txt" -r setup.py "${extras[@]}" "$@"
