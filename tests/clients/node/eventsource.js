// npm eventsource, event streams. It comes back by itself, unless it was refused.

import { EventSource } from 'eventsource';

import { call, last, lines, print } from './contract.js';

const KINDS = ['welcome', 'more', 'diff', 'state', 'occupancy', 'session', 'expiring', 'sit'];

const stream = new EventSource(call.url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...call.headers } }),
});
stream.onopen = () => print({ open: '' });
for (const kind of KINDS) stream.addEventListener(kind, ({ data }) => print({ text: data }));
stream.onerror = ({ code, message }) => {
  if (stream.readyState === EventSource.CLOSED) last({ refused: code, body: null });
  else print({ lost: message });
};
lines(() => {}, () => {
  stream.close();
  process.exit();
});
