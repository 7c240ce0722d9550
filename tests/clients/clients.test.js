// Every client against the real server, and the table of docs/reference/clients.md beside what was seen.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startServer } from '../browser/harness/server.js';
import { CLIENTS, isHere } from './clients.js';
import { endAll } from './connection.js';
import { tryAll } from './scenarios.js';
import { readRows, row, substance, writeRows } from './table.js';

// What production has, but for limits of one address, from which all of this comes, and patience with a busy machine.
const SETTINGS = { 'max-handshakes-per-minute': 1_000_000, 'max-connections-per-ip': 10_000, 'write-timeout': '2m', grace: '2m' };

const here = CLIENTS.filter(isHere);
let server;
let documented;
let longest;
const rows = new Map();

before(async () => {
  server = await startServer(SETTINGS, {});
  const seen = await tryAll(here, server);
  longest = seen.longest;
  for (const client of here) rows.set(client, row(client, seen.cells));
  if (process.env.LASTSEEN_WRITE_CLIENTS) writeRows(CLIENTS, rows);
  documented = readRows();
});
after(async () => {
  endAll();
  await server?.end();
});

for (const client of CLIENTS) {
  test(client.name, { skip: here.includes(client) ? false : 'what it needs could not be had: see script/setup --clients' }, () => {
    assert.deepEqual(substance(client, rows.get(client)), substance(client, documented.get(client.name)), 'what was seen, and what docs/reference/clients.md says');
  });
}

test('no frame is longer than max-frame-bytes', () => {
  assert.ok(longest <= 30_000, `${longest} bytes`);
});
