// What a program is given and what it prints; see ../README.md.

import { createInterface } from 'node:readline';

const [url, list, ...fields] = process.argv.slice(2);

/** The connection to make. */
export const call = {
  url,
  protocols: list ? list.split(',') : [],
  headers: Object.fromEntries(fields.map((field) => field.split(/: (.*)/s, 2))),
};

/** Hands on each line of the standard input, and calls `end` after the last. */
export function lines(send, end) {
  createInterface(process.stdin).on('line', send).on('close', end);
}

export const print = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);

/** The last fact of a program. */
export const last = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`, () => process.exit());
