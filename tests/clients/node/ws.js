// npm ws.

import { WebSocket } from 'ws';

import { call, last, lines, print } from './contract.js';

const socket = new WebSocket(call.url, call.protocols, { headers: call.headers });
socket.on('open', () => {
  print({ open: socket.protocol });
  lines((line) => socket.send(line), () => socket.close());
});
socket.on('message', (data) => print({ text: String(data) }));
socket.on('unexpected-response', async (_, answer) => {
  let body = '';
  for await (const part of answer) body += part;
  last({ refused: answer.statusCode, body });
});
// A `close` follows.
socket.on('error', ({ message }) => print({ failed: message }));
socket.on('close', (code, reason) => last({ closed: code, reason: String(reason) }));
