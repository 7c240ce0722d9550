#!/usr/bin/env bash
# The PyPI package json-merge-patch makes an empty patch where 1 becomes true, or 0 becomes false.
#
# Expected:  create_patch(a, b) gives a patch that turns a into b. In JSON the number 1 and the literal true are values
#            of different types (RFC 8259, 3), and a member that changed is in the patch (RFC 7396, 1).
# Seen:      create_patch({"hand": 1}, {"hand": true}) is {}, and so is the one from 0 to false, both ways, at any
#            depth: merge(a, patch) is still a. The package compares with Python's ==, where 1 == True. Changes from
#            1 to 2 and to "1", and a new member true, are in the patch.
# Versions:  PyPI json-merge-patch 0.3.0, Python 3.11.
# Matters:   a backend that sends its session's metadata as patches and turns a counter into a flag sends nothing;
#            the server keeps 1, and clients that check for true see the flag as not set.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check json-merge-patch==0.3.0

cat >run.py <<'PY'
import copy
import json

import json_merge_patch

for before, after in [
    ({"hand": 1}, {"hand": True}),
    ({"hand": True}, {"hand": 1}),
    ({"hand": 0}, {"hand": False}),
    ({"user": {"hand": 0}}, {"user": {"hand": False}}),
    ({"hand": 1}, {"hand": 2}),
    ({"hand": 1}, {"hand": "1"}),
    ({}, {"hand": True}),
]:
    patch = json_merge_patch.create_patch(copy.deepcopy(before), copy.deepcopy(after))
    merged = json_merge_patch.merge(copy.deepcopy(before), copy.deepcopy(patch))
    right = json.dumps(merged) == json.dumps(after)
    print(json.dumps(before), "to", json.dumps(after), "patch", json.dumps(patch), "right" if right else "wrong")
PY
timeout 60 python/bin/python run.py | tee seen
cat >expected <<'TXT'
{"hand": 1} to {"hand": true} patch {} wrong
{"hand": true} to {"hand": 1} patch {} wrong
{"hand": 0} to {"hand": false} patch {} wrong
{"user": {"hand": 0}} to {"user": {"hand": false}} patch {} wrong
{"hand": 1} to {"hand": 2} patch {"hand": 2} right
{"hand": 1} to {"hand": "1"} patch {"hand": "1"} right
{} to {"hand": true} patch {"hand": true} right
TXT
if diff expected seen; then
  echo "FINDING HOLDS: a change from 1 to true or from 0 to false is in no patch"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
