import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

// A module of the dashboard, which no package.json calls one: read as what it is.
const source = readFileSync(new URL('../../static/admin/history.js', import.meta.url));
const { history } = await import(`data:text/javascript;base64,${source.toString('base64')}`);

const START = Date.parse('2026-11-21T09:00:00.000Z');

/** What the server says so many seconds after nine. */
const stats = (second, more = {}) => ({
  type: 'stats',
  time: new Date(START + second * 1000).toISOString(),
  started_at: '2026-11-20T22:00:00.000Z',
  connections: 4,
  rooms: 2,
  participants: { active: 2, idle: 1, reconnecting: 0 },
  joins: 0,
  leaves: {},
  beats: 0,
  refusals: {},
  flush: { backlog: 3, age_seconds: 0.5, rows: 0, failures: 0 },
  memory_bytes: 3 * 2 ** 20,
  ...more,
});

test('what is measured is shown as it is, what is counted as what came in a second', () => {
  const past = history();
  const first = past.add(stats(0, { joins: 100, beats: 1000 }));
  assert.deepEqual([first.connections, first.idle, first.lag, first.backlog, first.memory], [4, 1, 0.5, 3, 3]);
  assert.deepEqual([first.joins, first.beats], [null, null], 'nothing to compare with');
  const second = past.add(stats(2, { joins: 106, beats: 1001, leaves: { left: 3, timeout: 1 }, flush: { backlog: 0, age_seconds: 0, rows: 50, failures: 0 } }));
  assert.deepEqual([second.joins, second.beats, second.leaves, second.rows], [3, 0.5, 2, 25]);
  assert.deepEqual(past.columns(['joins', 'rooms']), [[START / 1000, START / 1000 + 2], [null, 3], [2, 2]]);
});

test('a rate is that of the last ten seconds: one who comes is no jump and a fall', () => {
  const past = history();
  const joins = (second) => (second < 5 ? 0 : 10);
  const rates = Array.from({ length: 20 }, (_, second) => past.add(stats(second, { joins: joins(second) })).joins);
  assert.deepEqual([rates[4], rates[5], rates[10], rates[14], rates[15]], [0, 2, 1, 1, 0]);
});

test('rows are ten seconds apart, but for the newest, which is of now', () => {
  const past = history();
  for (let second = 0; second <= 24; second++) past.add(stats(second, { rooms: second, refusals: { session_full: second } }));
  assert.deepEqual(past.columns(['rooms']), [[0, 10, 20, 24].map((second) => START / 1000 + second), [0, 10, 20, 24]]);
  assert.deepEqual(past.refused(), { session_full: 24 });
});

test('what was missed for long has no second of its own, and neither has an instant', () => {
  const past = history();
  past.add(stats(0));
  assert.equal(past.add(stats(10, { joins: 20 })).joins, 2, 'as far apart as what the server keeps');
  assert.equal(past.add(stats(11, { joins: 23 })).joins, 23 / 11, 'over eleven seconds, since nothing was heard in between');
  assert.equal(past.add(stats(60, { joins: 500 })).joins, null);
  assert.equal(past.add(stats(60.25, { joins: 501 })).joins, null);
  assert.equal(past.add(stats(62, { joins: 502 })).joins, 1);
});

test('a server that was started anew counts from nothing', () => {
  const past = history();
  past.add(stats(0, { joins: 90, refusals: { session_full: 9 } }));
  const anew = past.add(stats(5, { started_at: '2026-11-21T09:00:04.000Z', joins: 2, refusals: { session_full: 2 } }));
  assert.equal(anew.joins, null);
  assert.deepEqual(past.refused(), { session_full: 2 });
});

test('an hour is kept, and no frame twice or out of its order', () => {
  const past = history();
  for (let second = 0; second <= 4000; second += 10) past.add(stats(second, { refusals: { rate_limited: second } }));
  assert.equal(past.since, START / 1000 + 400);
  assert.equal(past.columns([])[0].length, 361);
  assert.deepEqual(past.refused(), { rate_limited: 3610 }, 'those of this hour alone');
  const last = past.add(stats(4000));
  assert.equal(past.add(stats(3999)), last);
  assert.equal(past.columns([])[0].length, 361);
});

test('what the server kept takes the place of what was seen since, and what was before stays', () => {
  const past = history();
  for (const second of [0, 1, 2, 50]) past.add(stats(second));
  const kept = [10, 20, 30, 40, 50, 60].map((second) => stats(second, { joins: second, refusals: second > 20 ? { session_full: 4 } : {} }));
  const now = past.begin(kept);
  assert.deepEqual(past.columns(['joins']), [
    [0, 2, 10, 20, 30, 40, 50, 60].map((second) => START / 1000 + second),
    [null, 0, null, 1, 1, 1, 1, 1],
  ]);
  assert.equal(now.time, START / 1000 + 60);
  assert.deepEqual(past.refused(), { session_full: 4 });
  assert.equal(past.add(stats(61, { joins: 62, refusals: { session_full: 4 } })).joins, 12 / 11);
});

test('without a figure of memory there is a gap, and no zero', () => {
  assert.equal(history().add(stats(0, { memory_bytes: null })).memory, null);
});
