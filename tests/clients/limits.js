// The longest message that a client reads with its defaults, found by a server that sends longer and longer ones.

import { once } from 'node:events';

import { WebSocketServer } from 'ws';

import { Connection, until } from './connection.js';

/** Limits are powers of two, and some libraries refuse what reaches theirs. */
const SIZES = [2 ** 15, 2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22].flatMap((limit) => [limit - 1, limit, limit + 1]);

/** A server that sends the next size when it is asked to. */
export async function startSender() {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  await once(server, 'listening');
  const sockets = new Map();
  server.on('connection', (socket, { url }) => {
    socket.on('error', () => {});
    sockets.set(url, socket);
  });
  return { url: `ws://127.0.0.1:${server.address().port}`, sockets, end: () => server.close() };
}

/** In bytes, with commas; `none` where all sizes were read. */
export async function limitOf(client, sender, number) {
  const path = `/${number}`;
  const connection = new Connection(client, sender.url + path, { protocols: [] });
  await connection.until('connection', () => connection.opened !== null && sender.sockets.has(path));
  const socket = sender.sockets.get(path);
  let most = 0;
  for (const size of SIZES) {
    const before = connection.texts;
    socket.send('x'.repeat(size));
    await until(connection, `message of ${size} bytes`, () => connection.texts > before || connection.end);
    if (connection.texts === before) break;
    most = size;
  }
  connection.kill();
  socket.terminate();
  return most === SIZES.at(-1) ? 'over 4 MiB' : most.toLocaleString('en');
}
