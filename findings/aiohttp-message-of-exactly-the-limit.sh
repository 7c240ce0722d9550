#!/usr/bin/env bash
# aiohttp's WebSocket client ends the connection at a message that is exactly as long as its max_msg_size.
#
# Expected:  max_msg_size is "maximum size of read websocket message, 4 MB by default": a message of that many bytes is
#            read, and one of a byte more is not. So it is with max_size of websockets, the control.
# Seen:      with max_msg_size=4096 a message of 4,095 bytes is read; at one of 4,096 the connection is closed with 1009.
#            With the default the longest message that is read has 4,194,303 bytes.
# Versions:  PyPI aiohttp 3.14.5; control and server websockets 17.4; Python 3.11.
# Matters:   a server whose longest frame is set to the limit of its clients loses those of aiohttp at the first full
#            one, and they come back to the same frame.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aiohttp==3.14.5 websockets==17.4

cat >run.py <<'PY'
import asyncio

import aiohttp
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

DEFAULT = 4 * 1024 * 1024


async def send(socket):
    """One message, as long as the path says."""
    try:
        await socket.send("x" * int(socket.request.path[1:]))
        await socket.wait_closed()
    except ConnectionClosed:
        pass


async def with_aiohttp(url, **limit):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **limit) as socket:
        message = await socket.receive(timeout=20)
        return "read" if message.type is aiohttp.WSMsgType.TEXT else f"closed {socket.close_code}"


async def with_websockets(url):
    async with connect(url, max_size=4096) as socket:
        try:
            await asyncio.wait_for(socket.recv(), 20)
            return "read"
        except ConnectionClosed as closed:
            return f"closed {closed.sent.code}"


async def main():
    async with serve(send, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/"
        for size in 4095, 4096, 4097:
            print("websockets", 4096, size, await with_websockets(f"{url}{size}"), flush=True)
        for size in 4095, 4096, 4097:
            print("aiohttp", 4096, size, await with_aiohttp(f"{url}{size}", max_msg_size=4096), flush=True)
        for size in DEFAULT - 1, DEFAULT:
            print("aiohttp", "default", size, await with_aiohttp(f"{url}{size}"), flush=True)


asyncio.run(main())
PY
timeout 120 python/bin/python run.py | tee seen
cat >expected <<'TXT'
websockets 4096 4095 read
websockets 4096 4096 read
websockets 4096 4097 closed 1009
aiohttp 4096 4095 read
aiohttp 4096 4096 closed 1009
aiohttp 4096 4097 closed 1009
aiohttp default 4194303 read
aiohttp default 4194304 closed 1009
TXT
if diff expected seen; then
  echo "FINDING HOLDS: a message of exactly max_msg_size bytes is too long"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
