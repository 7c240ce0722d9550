#!/usr/bin/env bash
# undici (Node's fetch library), the npm package websocket and Tornado refuse "Connection: keep-alive, Upgrade".
#
# Expected:  a client fails the handshake where the answer's Connection "doesn't contain a token" Upgrade (RFC 6455, 4.1,
#            third check). A list that contains the token passes, and so do two Connection lines (RFC 9110, 5.3).
# Seen:      the three compare the whole value: "Upgrade" opens, "keep-alive, Upgrade" in one line or in two fails. ws and
#            websockets, as controls, open all three.
# Versions:  npm undici 7.30.2 (the WebSocket built into Node comes from it; not measured here), websocket 1.0.35; PyPI
#            tornado 6.6.1; controls npm ws 8.23.0, PyPI websockets 17.4; Node 20, Python 3.11. aiohttp 3.14 does the same, reported and
#            mended for its next version.
# Matters:   Firefox sends such a list itself. Where a proxy adds its own keep-alive to the answer, clients that read tokens
#            connect and these do not, so a server should answer with the one value that 4.2.2 asks of it, and a report of
#            "connects with ws, not in Node" may be a matter of the proxy.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund undici@7.30.2 websocket@1.0.35 ws@8.23.0
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check tornado==6.6.1 websockets==17.4

cat >client.py <<'PY'
import asyncio
import sys

import websockets
from tornado.websocket import websocket_connect


async def main(name, url):
    connect = {"tornado": websocket_connect, "websockets": websockets.connect}[name]
    try:
        await asyncio.wait_for(connect(url), 30)
        print("open")
    except Exception:
        print("failed")


asyncio.run(main(*sys.argv[1:]))
PY

cat >run.cjs <<'JS'
const { createHash } = require('node:crypto');
const { execFile } = require('node:child_process');
const net = require('node:net');
const Undici = require('undici').WebSocket;
const Websocket = require('websocket').w3cwebsocket;
const Ws = require('ws');

// A bare server: the path says which Connection lines the answer has. It leaves the connection open for a second.
const lines = {
  one: 'Connection: Upgrade\r\n',
  list: 'Connection: keep-alive, Upgrade\r\n',
  two: 'Connection: keep-alive\r\nConnection: Upgrade\r\n',
};
const server = net.createServer((socket) => {
  let read = '';
  socket.on('error', () => {});
  socket.on('data', (data) => {
    if (read.includes('\r\n\r\n')) return;
    read += data.toString('latin1');
    if (!read.includes('\r\n\r\n')) return;
    const key = /sec-websocket-key: *(\S+)/i.exec(read)[1];
    const accept = createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n${lines[/^GET \/(\w+)/.exec(read)[1]]}`
      + `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
    setTimeout(() => socket.destroy(), 1000);
  });
});
const event = (Client) => (url) => new Promise((resolve) => {
  const client = new Client(url);
  client.onopen = () => resolve('open');
  client.onerror = () => resolve('failed');
});
const python = (name) => (url) => new Promise((resolve) => {
  execFile('python/bin/python', ['client.py', name, url], { timeout: 60_000 }, (error, out) => resolve(out.trim() || String(error)));
});
const clients = {
  undici: event(Undici), websocket: event(Websocket), tornado: python('tornado'),
  ws: event(Ws), websockets: python('websockets'),
};
server.listen(0, '127.0.0.1', async () => {
  for (const [name, client] of Object.entries(clients)) {
    for (const path of Object.keys(lines)) {
      console.log(`${name} ${path} ${await client(`ws://127.0.0.1:${server.address().port}/${path}`)}`);
    }
  }
  process.exit(0);
});
JS
timeout 150 node run.cjs | tee seen
cat >expected <<'TXT'
undici one open
undici list failed
undici two failed
websocket one open
websocket list failed
websocket two failed
tornado one open
tornado list failed
tornado two failed
ws one open
ws list open
ws two open
websockets one open
websockets list open
websockets two open
TXT
if diff expected seen; then
  echo "FINDING HOLDS: a Connection with a second token fails the handshake in three clients"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
