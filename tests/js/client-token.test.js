// A JWT that is renewed on the connection, before it expires.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { connected, enter, SESSION, settle } from './fakes.js';

const START = Date.parse('2026-11-21T09:30:00.000Z'); // what the server's clock shows first
const at = (seconds) => new Date(START + seconds * 1000).toISOString();

/** A user whose token expires so many seconds after the welcome, with what `getToken` gives. */
const user = (seconds, getToken) =>
  connected({ session: SESSION, getToken }, {}, { beat_ms: 3_600_000, token_expires_at: at(seconds) });

/** Takes the newest token, at this second and until that one. */
const take = (socket, now, expires) =>
  socket.tell({ type: 'token', ref: socket.sent('token').at(-1).ref, expires_at: at(expires), server_time: at(now) });

test('a fresh token is asked for before the old one expires, and sent', async () => {
  let n = 0;
  const { room, socket, clock, sockets } = await user(60, async () => `jwt${++n}`);
  await clock.pass(44_000);
  assert.equal(n, 1, 'not long before');
  await clock.pass(2_000);
  assert.equal(n, 2);
  assert.deepEqual(socket.sent('token').map(({ token }) => token), ['jwt2']);
  assert.equal(room.bearer, 'jwt1', 'until it is taken');
  take(socket, 46, 106);
  assert.equal(room.bearer, 'jwt2');

  // And again, as often as it takes.
  await clock.pass(44_000);
  assert.equal(n, 2);
  await clock.pass(2_000);
  assert.deepEqual(socket.sent('token').map(({ token }) => token), ['jwt2', 'jwt3']);
  assert.equal(new Set(socket.sent('token').map(({ ref }) => ref)).size, 2);
  assert.equal(sockets.length, 1);
  assert.equal(room.status, 'connected');
  room.leave();
});

test('what is left counts, not what the own clock shows', async () => {
  let n = 0;
  // The clock of the fakes begins at a second of 1970.
  const { room, clock } = await user(3_600, () => `jwt${++n}`);
  await clock.pass(2_690_000);
  assert.equal(n, 1);
  await clock.pass(20_000);
  assert.equal(n, 2);
  room.leave();
});

test('a token that is still the same is not sent, and asked for again in time', async () => {
  let asked = 0;
  let token = 'old';
  const { room, socket, clock } = await user(60, () => (asked++, token));
  await clock.pass(58_000);
  assert.ok(asked >= 3 && asked <= 6, `${asked} times`);
  assert.deepEqual(socket.sent('token'), []);
  token = 'new'; // a provider that renews at the last moment
  await clock.pass(5_000);
  assert.deepEqual(socket.sent('token').map(({ token }) => token), ['new']);
  room.leave();
});

test('a getToken that fails, or has no token, is asked again', async () => {
  const answers = ['jwt1', new Error('offline'), null, 'jwt2'];
  const { room, socket, clock } = await user(60, async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  });
  await clock.pass(70_000);
  assert.deepEqual(socket.sent('token').map(({ token }) => token), ['jwt2']);
  assert.equal(room.status, 'connected');
  room.leave();
});

test('a token that is refused is not sent again, unless the server says so', async () => {
  let token = 'jwt1';
  const world = await user(600, () => token);
  const { room, socket, clock } = world;
  const refuse = (code, retry) =>
    socket.tell({ type: 'error', code, message: '…', retry, ref: socket.sent('token').at(-1).ref });
  token = 'jwt2';
  await clock.pass(450_000);
  refuse('unavailable', true);
  await clock.pass(120_000);
  assert.deepEqual(socket.sent('token').map(({ token }) => token), ['jwt2', 'jwt2']);
  refuse('forbidden', false);
  await clock.pass(60_000);
  assert.equal(socket.sent('token').length, 2);
  assert.deepEqual(world.named('error').map(([{ code }]) => code), ['unavailable', 'forbidden']);
  assert.equal(room.bearer, 'jwt1');
  assert.equal(room.status, 'connected');

  // It ends with the old one, and comes back with what there is then.
  socket.refuse(4001, 'token_expired');
  await clock.pass(5_000);
  assert.deepEqual(world.socket.protocols, ['lastseen.v1', 'lastseen.bearer.jwt2']);
  room.leave();
});

test('a server that does not know the frame: the room comes back by itself, with a fresh token', async () => {
  let n = 0;
  const world = await user(60, () => `jwt${++n}`);
  await world.clock.pass(60_000); // and no answer
  assert.equal(world.socket.sent('token').length > 0, true);
  const given = n;
  world.socket.refuse(4001, 'token_expired');
  assert.equal(world.room.status, 'reconnecting');
  await world.clock.pass(5_000);
  assert.deepEqual(world.socket.protocols, ['lastseen.v1', `lastseen.bearer.jwt${given + 1}`]);
  world.socket.welcome({ token_expires_at: at(60) });
  assert.equal(world.room.status, 'connected');
  assert.equal(world.room.bearer, `jwt${given + 1}`);
  world.room.leave();
});

test('a server that does not say when the token expires is sent none', async () => {
  let n = 0;
  const { room, socket, clock } = await connected({ session: SESSION, getToken: () => `jwt${++n}` }, {}, { beat_ms: 3_600_000 });
  await clock.pass(3_500_000);
  assert.equal(n, 1);
  assert.deepEqual(socket.sent('token'), []);
  room.leave();
});

test('without getToken, and as a guest, nothing is renewed', async () => {
  for (const options of [{ session: SESSION, token: 'jwt' }, { session: SESSION, invite: 'inv', name: 'A', getToken: () => null }]) {
    const { room, socket, clock } = await connected(options, {}, { beat_ms: 3_600_000, token_expires_at: options.token ? at(60) : null });
    await clock.pass(600_000);
    assert.deepEqual(socket.sent('token'), []);
    room.leave();
  }
});

test('a token that comes after the room was left, or on another connection, is not sent', async () => {
  let give;
  let n = 0;
  const world = await user(60, () => (n++ ? new Promise((done) => { give = done; }) : 'jwt1'));
  await world.clock.pass(46_000);
  const first = world.socket;
  first.end(1006);
  const late = give;
  await world.clock.pass(5_000);
  give('jwt2');
  await settle();
  world.socket.welcome();
  late('late');
  await settle();
  assert.deepEqual([first.sent('token'), world.socket.sent('token')], [[], []]);
  world.room.leave();
  assert.equal(world.clock.timers.size, 0);
});

test('a tab that is let run once a minute renews within the leeway of the server', async () => {
  let n = 0;
  const { room, socket, clock } = await enter({ session: SESSION, getToken: () => `jwt${++n}` });
  clock.every = 60_000;
  socket.welcome({ beat_ms: 3_600_000, token_expires_at: at(50) });
  await clock.pass(61_000);
  assert.deepEqual(socket.sent('token').map(({ token }) => token), ['jwt2']);
  room.leave();
});
