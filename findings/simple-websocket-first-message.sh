#!/usr/bin/env bash
# simple-websocket holds back a message that comes in the same packet as the server's handshake.
#
# Expected:  after the handshake's blank line the connection is open, and what follows is frames (RFC 6455, 4.1 and
#            4.2.2). How TCP splits the bytes means nothing: a whole message is handed out when it is there.
# Seen:      a server writes its 101 and the text "welcome" at once, and 4 s later the text "next": receive() gives
#            "welcome" only when "next" comes, and None before, with a timeout. Where "welcome" is written 0.5 s
#            after the 101, it is given at once. websocket-client and websockets, as controls, give it at once each time.
# Versions:  PyPI simple-websocket 1.1.0 with wsproto 1.3.2; controls websocket-client 1.9.2 and websockets 17.4;
#            Python 3.11.
# Matters:   a presence server greets right after the upgrade, and whether the two share a packet is chance. Such a
#            client has no list of who is here until somebody comes or goes, and one that waits for the greeting before
#            it sends waits with it. "No greeting" is then no sign of a refusal.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check simple-websocket==1.1.0 wsproto==1.3.2 \
  websocket-client==1.9.2 websockets==17.4

cat >run.py <<'PY'
import base64
import hashlib
import os
import re
import socket
import threading
import time

import simple_websocket
import websocket
import websockets.sync.client


def text(word):
    return bytes([0x81, len(word)]) + word.encode()


# A bare server: GET /together has "welcome" in one write with the 101, GET /apart half a second later.
def serve(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)[1]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    answer = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    if head.startswith(b"GET /together"):
        connection.sendall(answer + text("welcome"))
    else:
        connection.sendall(answer)
        time.sleep(0.5)
        connection.sendall(text("welcome"))
    time.sleep(4)
    connection.sendall(text("next"))
    time.sleep(20)


def listen(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def with_simple_websocket(url, seen):
    client = simple_websocket.Client.connect(url)
    seen.append(client.receive(timeout=2))
    while "next" not in seen:
        seen.append(client.receive(timeout=10))


def with_websocket_client(url, seen):
    client = websocket.create_connection(url, timeout=2)
    seen.append(client.recv())
    client.settimeout(10)
    while "next" not in seen:
        seen.append(client.recv())


def with_websockets(url, seen):
    with websockets.sync.client.connect(url) as client:
        seen.append(client.recv(timeout=2))
        while "next" not in seen:
            seen.append(client.recv(timeout=10))


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=listen, args=(listener,), daemon=True).start()
for client in with_simple_websocket, with_websocket_client, with_websockets:
    for path in "together", "apart":
        seen = []
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/{path}"
        threading.Thread(target=client, args=(url, seen), daemon=True).start()
        limit = time.monotonic() + 10
        while "next" not in seen and time.monotonic() < limit:
            time.sleep(0.05)
        print(client.__name__, path, *seen, flush=True)

os._exit(0)
PY
timeout 120 python/bin/python run.py | tee seen
cat >expected <<'TXT'
with_simple_websocket together None welcome next
with_simple_websocket apart welcome next
with_websocket_client together welcome next
with_websocket_client apart welcome next
with_websockets together welcome next
with_websockets apart welcome next
TXT
if diff expected seen; then
  echo "FINDING HOLDS: a message in the packet of the handshake is held back until the next bytes come"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
