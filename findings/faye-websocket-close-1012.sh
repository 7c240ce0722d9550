#!/usr/bin/env bash
# A client on faye-websocket takes the close codes 1012, 1013 and 1014 for a protocol error.
#
# Expected:  Close 1012 (Service Restart), 1013 (Try Again Later) and 1014 (Bad Gateway) are in IANA's registry of
#            close codes; the client reports the code that the server sent, and echoes it, as it does with 1011.
# Seen:      its close event says 1002 with the server's reason, and the Close frame that it answers with says
#            1002. 1011, 3000 and 4511 are reported as sent. ws and the Python package autobahn report 1012 and 1013
#            as sent; autobahn drops the connection on 1014 with 1006.
# Versions:  npm faye-websocket 0.11.4 (websocket-driver 0.8.0 beneath), ws 8.23.0 as control, Node 20 and 22;
#            PyPI autobahn 26.10.2.
# Matters:   a server that drains with 1012 and refuses with 1013 "come back" is booked as a broken server. A
#            client that gives up on 1002 must look at the reason too.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund faye-websocket@0.11.4 websocket-driver@0.8.0 ws@8.23.0
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check autobahn==26.10.2

# A bare server: GET /CODE is upgraded and closed with CODE at once. It notes the code that comes back.
cat >server.cjs <<'JS'
const { createHash } = require('node:crypto');
const net = require('node:net');
const answered = {};
const server = net.createServer((socket) => {
  let read = Buffer.alloc(0), code = null;
  socket.on('error', () => {});
  socket.on('data', (data) => {
    read = Buffer.concat([read, data]);
    if (code === null) {
      const end = read.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = read.subarray(0, end).toString();
      read = read.subarray(end + 4);
      code = Number(/^GET \/(\d+)/.exec(head)[1]);
      const key = /sec-websocket-key: *(\S+)/i.exec(head)[1];
      const accept = createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        + `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
      socket.write(Buffer.from([0x88, 7, code >> 8, code & 255, ...Buffer.from('later')]));
    }
    if (read.length >= 8 && read[0] === 0x88) {
      answered[code] = (read[6] ^ read[2]) * 256 + (read[7] ^ read[3]);
      socket.end();
    }
  });
});
module.exports = { server, answered };
JS

cat >clients.cjs <<'JS'
const { execFile } = require('node:child_process');
const Faye = require('faye-websocket');
const Ws = require('ws');
const { server, answered } = require('./server.cjs');
const closed = (open) => new Promise((resolve) => open(resolve));
const clients = {
  faye: (url) => closed((done) => new Faye.Client(url).on('close', (event) => done(event.code))),
  ws: (url) => closed((done) => new Ws(url).on('error', () => {}).on('close', done)),
  autobahn: (url) => closed((done) => execFile('python/bin/python', ['autobahn.client.py', url],
    { timeout: 60_000 }, (error, out) => done(Number(out) || String(error)))),
};
server.listen(0, '127.0.0.1', async () => {
  const base = `ws://127.0.0.1:${server.address().port}/`;
  for (const [name, client] of Object.entries(clients)) {
    for (const code of [1011, 1012, 1013, 1014, 3000, 4511]) {
      delete answered[code];
      const seen = await client(base + code);
      for (let i = 0; i < 100 && name === 'faye' && !(code in answered); i++) await new Promise((r) => setTimeout(r, 20));
      console.log(`${name} ${code} ${seen}${name === 'faye' ? ` answered ${answered[code]}` : ''}`);
    }
  }
  process.exit(0);
});
JS

cat >autobahn.client.py <<'PY'
import asyncio
import sys
from urllib.parse import urlparse

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol


async def main(url):
    done = asyncio.get_running_loop().create_future()

    class Client(WebSocketClientProtocol):
        def onClose(self, was_clean, code, reason):
            done.done() or done.set_result(code)

    factory = WebSocketClientFactory(url)
    factory.protocol = Client
    await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", urlparse(url).port)
    print(await asyncio.wait_for(done, 30))


asyncio.run(main(sys.argv[1]))
PY

timeout 120 node clients.cjs 2>/dev/null | tee seen
cat >expected <<'TXT'
faye 1011 1011 answered 1011
faye 1012 1002 answered 1002
faye 1013 1002 answered 1002
faye 1014 1002 answered 1002
faye 3000 3000 answered 3000
faye 4511 4511 answered 4511
ws 1011 1011
ws 1012 1012
ws 1013 1013
ws 1014 1014
ws 3000 3000
ws 4511 4511
autobahn 1011 1011
autobahn 1012 1012
autobahn 1013 1013
autobahn 1014 1006
autobahn 3000 3000
autobahn 4511 4511
TXT
if diff expected seen; then
  echo "FINDING HOLDS: faye-websocket reports Close 1012, 1013 and 1014 as 1002"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
