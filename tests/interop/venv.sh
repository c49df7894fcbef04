#!/bin/sh
# venv.sh DIR [REQUIREMENTS]: creates a virtualenv in DIR with pinned libraries, unless DIR has them already.
# Default: the library for peer.py.
set -eu

dir=${1:?usage: venv.sh DIR [REQUIREMENTS]}
requirements=${2:-$(dirname "$0")/requirements.txt}

mkdir -p "$dir"
# Concurrent runs would break each other. Without flock the script continues, since concurrent runs are rare.
if command -v flock >/dev/null; then
    exec 9>"$dir.lock"
    flock 9
fi

# The stamp is written last. If it is missing or has another version, the virtualenv is created again.
if [ -x "$dir/bin/python" ] && cmp -s "$requirements" "$dir/stamp"; then
    exit 0
fi
# --clear empties DIR, so make sure that DIR is a virtualenv.
if [ -n "$(ls -A "$dir")" ] && [ ! -e "$dir/pyvenv.cfg" ]; then
    echo "venv.sh: $dir is neither empty nor a virtualenv" >&2
    exit 1
fi
python3 -m venv --clear "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
cp "$requirements" "$dir/stamp"
