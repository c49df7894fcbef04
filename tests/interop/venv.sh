#!/bin/sh
# venv.sh DIR: creates a virtualenv in DIR with the pinned library for peer.py, unless DIR has it already.
set -eu

dir=${1:?usage: venv.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$dir"
# Concurrent runs would break each other. Without flock the script continues, since concurrent runs are rare.
if command -v flock >/dev/null; then
    exec 9>"$dir.lock"
    flock 9
fi

# The stamp is written last. If it is missing or has another version, the virtualenv is created again.
if [ -x "$dir/bin/python" ] && cmp -s "$here/requirements.txt" "$dir/stamp"; then
    exit 0
fi
# --clear empties DIR, so make sure that DIR is a virtualenv.
if [ -n "$(ls -A "$dir")" ] && [ ! -e "$dir/pyvenv.cfg" ]; then
    echo "venv.sh: $dir is neither empty nor a virtualenv" >&2
    exit 1
fi
python3 -m venv --clear "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cp "$here/requirements.txt" "$dir/stamp"
