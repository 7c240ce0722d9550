// The table in the reference: one row a client, between two marks.

import { readFileSync, writeFileSync } from 'node:fs';

const page = new URL('../../docs/reference/clients.md', import.meta.url);
const BEGIN = '<!-- written by LASTSEEN_WRITE_CLIENTS=1 script/test --clients -->';
const END = '<!-- end -->';

/** The columns, and the scenarios whose cells they are. */
const COLUMNS = {
  'reads at most': 'limit',
  invite: 'invite',
  'JWT in the header': 'header',
  'JWT as subprotocol': 'subprotocol',
  service: 'service',
  '70 s idle': 'idle',
  'room of 300': 'crowd',
  'refused after the upgrade': 'closed',
  'refused in HTTP': 'problem',
  restart: 'restart',
  '`close()`': 'leave',
};
const HEAD = ['client', 'version', ...Object.keys(COLUMNS), 'run'];

const line = (cells) => `| ${cells.join(' | ')} |`;
const today = () => new Date().toISOString().slice(0, 10);

/** The row of a client that was run. */
export const row = (client, cells) => [client.name, client.version(), ...Object.values(COLUMNS).map((scenario) => cells[scenario].get(client)), today()];

/** What must agree between two rows: not the day, and not the version of what is not pinned. */
export const substance = (client, cells) => Object.fromEntries(HEAD.map((name, at) => [name, cells?.[at]]).filter(([name]) => name !== 'run' && !(name === 'version' && client.installed)));

/** The rows of the page, by the name of the client. */
export function readRows() {
  const text = readFileSync(page, 'utf8');
  const [, table] = /<!-- written by .*? -->\n(.*?)<!-- end -->/s.exec(text);
  const rows = table.trim().split('\n').slice(2).map((text) => text.split('|').slice(1, -1).map((cell) => cell.trim()));
  return new Map(rows.map((cells) => [cells[0], cells]));
}

/** Writes the rows of these clients; the row of one that was not run stays as it is. */
export function writeRows(clients, rows) {
  const before = readRows();
  const never = (client) => [client.name, client.version(), ...Object.keys(COLUMNS).map(() => ''), 'never'];
  const all = clients.map((client) => rows.get(client) ?? before.get(client.name) ?? never(client));
  const table = [line(HEAD), line(HEAD.map(() => '---')), ...all.map(line)].join('\n');
  const text = readFileSync(page, 'utf8').replace(/<!-- written by .*?<!-- end -->/s, () => `${BEGIN}\n${table}\n${END}`);
  writeFileSync(page, text);
}
