// npm undici: the WebSocket that node itself has since 22, of which this is the newest of the 7 series.

import { WebSocket } from 'undici';

import { call, last, lines, print } from './contract.js';

const socket = new WebSocket(call.url, { protocols: call.protocols, headers: call.headers });
socket.onopen = () => {
  print({ open: socket.protocol });
  lines((line) => socket.send(line), () => socket.close());
};
socket.onmessage = ({ data }) => print({ text: data });
// A `close` follows.
socket.onerror = ({ message, error }) => print({ failed: message || String(error) });
socket.onclose = ({ code, reason }) => last({ closed: code, reason });
