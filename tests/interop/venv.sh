#!/bin/sh
# venv.sh DIR: makes a virtualenv in DIR with the pinned library for peer.py; does nothing where it
# is there already.
set -eu

dir=${1:?usage: venv.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$dir"
# Two at once would spoil each other's work. Not every system has flock; most runs are alone.
if command -v flock >/dev/null; then
    exec 9>"$dir.lock"
    flock 9
fi

# The stamp is written last: without it, or with another version in it, we begin anew.
if [ -x "$dir/bin/python" ] && cmp -s "$here/requirements.txt" "$dir/stamp"; then
    exit 0
fi
# --clear empties DIR, so DIR must be ours.
if [ -n "$(ls -A "$dir")" ] && [ ! -e "$dir/pyvenv.cfg" ]; then
    echo "venv.sh: $dir is neither empty nor a virtualenv" >&2
    exit 1
fi
python3 -m venv --clear "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cp "$here/requirements.txt" "$dir/stamp"
