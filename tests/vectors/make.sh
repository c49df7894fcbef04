#!/usr/bin/env bash
# Generates signature.txt. Stripe's own libraries check each vector. Leaves no other files.
# Needs python3 (3.10 or later, with venv), node (20 or later) and npm.
set -euo pipefail

PYTHON_STRIPE=16.1.0
NODE_STRIPE=23.1.0

here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check "stripe==$PYTHON_STRIPE"
npm install --prefix "$tmp" --silent --no-audit --no-fund "stripe@$NODE_STRIPE"
# Node looks for packages next to the script, not next to where it is run.
cp "$here/judge.mjs" "$tmp/"

"$tmp/venv/bin/python" -X utf8 "$here/make.py" "$tmp/judge.mjs" >"$tmp/signature.txt"
# Copied last, so that a failure does not change the old file.
cp "$tmp/signature.txt" "$here/signature.txt"
