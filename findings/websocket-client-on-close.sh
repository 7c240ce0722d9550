#!/usr/bin/env bash
# The Python package websocket-client does not call on_close when the server closes and run_forever() reconnects.
#
# Expected:  on_close is called with the code and the reason whenever the server closes the connection ("callback object
#            which is called when connection is closed"), so that it can decide by the code whether to go on.
# Seen:      with run_forever(reconnect=1) it is not called for any Close of the server's: the app connects again and
#            again, and its own code never learns the close code. Without reconnect it is called with 4504 and the
#            reason.
# Versions:  websocket-client 1.9.2; server: websockets 17.4; Python 3.11.
# Matters:   a refusal that is final (4504) cannot be told from a restart by on_close; the app has to be stopped in
#            on_message or on_error.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet websocket-client==1.9.2 websockets==17.4

cat >run.py <<'PY'
import asyncio, threading, time
import websocket
from websockets.asyncio.server import serve

opened, ready, port = [], threading.Event(), [0]

async def refuse(socket):
    opened.append(socket.request.path)
    await socket.close(4504, "invite_not_found")

async def run():
    async with serve(refuse, "127.0.0.1", 0) as server:
        port[0] = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.get_running_loop().create_future()

threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
assert ready.wait(30)

def closes(path, **options):
    """The codes that on_close was called with, once the app has connected three times or has ended."""
    codes = []
    app = websocket.WebSocketApp(f"ws://127.0.0.1:{port[0]}{path}", on_close=lambda app, code, reason: codes.append(code))
    thread = threading.Thread(target=lambda: app.run_forever(**options), daemon=True)
    thread.start()
    limit = time.monotonic() + 60
    while thread.is_alive() and opened.count(path) < 3 and time.monotonic() < limit:
        time.sleep(0.05)
    return codes, opened.count(path)

print("once", *closes("/once"))
print("reconnect", *closes("/reconnect", reconnect=1))
PY
timeout 120 python/bin/python run.py 2>/dev/null | tee seen
cat >expected <<'TXT'
once [4504] 1
reconnect [] 3
TXT
if diff expected seen; then
  echo "FINDING HOLDS: with reconnect on_close is not called for a Close of the server's"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
