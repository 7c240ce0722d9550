// What a room of the client library knows and says: how it is opened, who is in it, sits, subscriptions, the public state.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { join } from '../../packages/client/lastseen.js';
import { connected, diff, enter, person, SESSION, settle } from './fakes.js';

// Opening

test('a guest opens the socket with the invite and a name', async () => {
  const { socket, room } = await enter({ session: SESSION, invite: 'a+b/c', name: 'Ada & Bob' });
  assert.equal(room.status, 'connecting');
  assert.equal(socket.url.protocol, 'wss:');
  assert.equal(socket.url.host, 'example.org');
  assert.equal(socket.url.pathname, `/v1/reading-sessions/${SESSION}/ws`);
  assert.deepEqual(Object.fromEntries(socket.url.searchParams), { invite: 'a+b/c', name: 'Ada & Bob' });
  assert.deepEqual(socket.protocols, ['lastseen.v1']);
  room.leave();
});

test('platform and client session go along', async () => {
  const { socket, room } = await enter({ session: SESSION, token: 'jwt', platform: 'web', clientSession: 'cs1' });
  assert.deepEqual(Object.fromEntries(socket.url.searchParams), { platform: 'web', client_session: 'cs1' });
  assert.deepEqual(socket.protocols, ['lastseen.v1', 'lastseen.bearer.jwt']);
  room.leave();
});

test('addresses: an invite link, a socket, a server below a path', async () => {
  const found = [[200, { session: { id: 's9' } }]];
  const link = await enter({ url: 'http://h:8080/below/join/tok', name: 'A' }, { answers: found });
  assert.deepEqual(link.fetched, ['http://h:8080/below/v1/invites/tok']);
  assert.equal(String(link.socket.url), 'ws://h:8080/below/v1/reading-sessions/s9/ws?invite=tok&name=A');

  const ws = await enter({ url: 'wss://h/v1/reading-sessions/s8/ws?invite=tok', name: 'A' });
  assert.equal(String(ws.socket.url), 'wss://h/v1/reading-sessions/s8/ws?invite=tok&name=A');

  const server = await enter({ url: 'https://h/below/', session: 's7', token: 't' });
  assert.equal(String(server.socket.url), 'wss://h/below/v1/reading-sessions/s7/ws?');
  for (const { room } of [link, ws, server]) room.leave();
});

test('join takes an address as its first argument too', () => {
  class Nowhere {}
  const clock = { now: () => 0, setTimeout: () => 1, clearTimeout() {} };
  const room = join(new URL('https://h/join/tok'), { name: 'A', WebSocket: Nowhere, clock, fetch: async () => ({}) });
  assert.equal(room.status, 'connecting');
  room.leave();
  assert.equal(room.status, 'closed');
});

test('an invite that opens nothing closes the room with the words of the server', async () => {
  for (const [status, code, close] of [[404, 'invite_not_found', 4504], [410, 'invite_expired', 4510]]) {
    const world = await enter({ invite: 'x', name: 'A' }, { answers: [[status, { code, detail: 'It is over.' }]] });
    assert.deepEqual(world.named('closed'), [[{ code: close, error: code, message: 'It is over.', reason: null }]]);
    assert.equal(world.sockets.length, 0);
    assert.equal(world.clock.timers.size, 0);
  }
});

test('an invite that cannot be asked for is asked for again, with the patience the server wants', async () => {
  const answers = [[503, {}, { 'retry-after': '7' }], [0], [200, { session: { id: SESSION } }]];
  const world = await enter({ invite: 'x', name: 'A' }, { answers, random: () => 0.1 });
  assert.equal(world.room.status, 'reconnecting');
  assert.equal(world.clock.next, 7_000);
  await world.clock.pass(7_000);
  assert.equal(world.clock.next, 1_000);
  await world.clock.pass(1_000);
  assert.equal(world.sockets.length, 1);
  world.room.leave();
});

test('the room is what the welcome says', async () => {
  const { room, events } = await connected({}, {}, { occupancy: 2, participants: [person('me'), person('b')] });
  assert.equal(room.status, 'connected');
  assert.equal(room.you, 'me');
  assert.equal(room.occupancy, 2);
  assert.equal(room.session.title, 'Evening');
  assert.deepEqual([...room.participants.keys()], ['me', 'b']);
  assert.deepEqual(events.map(([event]) => event), ['status', 'join', 'join', 'change']);
  room.leave();
});

test('an observer has nothing to come back with', async () => {
  const { room, storage } = await connected({ session: SESSION, token: 'service' }, {}, { you: null, resume: null, participants: [] });
  assert.equal(room.you, null);
  assert.equal(storage.items.size, 0);
  room.leave();
});

// Presence

test('diffs change the Map and tell of it', async () => {
  const { room, socket, events } = await connected();
  const { participants } = room;
  events.length = 0;
  socket.tell(diff(42, { occupancy: 2, joins: [person('b')] }));
  socket.tell(diff(43, { occupancy: 2, updates: [person('b', { status: 'idle' })] }));
  socket.tell(diff(44, { occupancy: 1, leaves: [{ id: 'b', reason: 'left' }] }));
  assert.deepEqual(events.filter(([event]) => event !== 'change').map(([event, p, why]) => [event, p.id, p.status, why]), [
    ['join', 'b', 'active', 'diff'], ['update', 'b', 'idle', 'diff'], ['leave', 'b', 'idle', 'left'],
  ]);
  assert.equal(events.filter(([event]) => event === 'change').length, 3);
  assert.equal(room.participants, participants);
  assert.deepEqual([...participants.keys()], ['me']);
  room.leave();
});

test('handlers see the room as it is after the frame', async () => {
  const { room, socket } = await connected();
  let seen;
  room.on('join', () => { seen = [room.occupancy, room.participants.size]; });
  socket.tell(diff(42, { occupancy: 3, joins: [person('b'), person('c')] }));
  assert.deepEqual(seen, [3, 3]);
  room.leave();
});

test('a gap asks for the state once, until it comes', async () => {
  const { room, socket } = await connected();
  socket.tell(diff(42));
  assert.equal(socket.sent('sync').length, 0);
  for (const seq of [44, 45, 47]) socket.tell(diff(seq, { occupancy: 2 }));
  assert.equal(socket.sent('sync').length, 1);
  socket.tell({ type: 'state', seq: 47, occupancy: 2, participants: [person('me'), person('b')] });
  socket.tell(diff(48, { occupancy: 2 }));
  assert.equal(socket.sent('sync').length, 1);
  socket.tell(diff(50, { occupancy: 2 }));
  assert.equal(socket.sent('sync').length, 2);
  room.leave();
});

test('a sync that got no answer is asked again after the next beat, not sooner', async () => {
  const { room, socket, clock } = await connected();
  socket.tell(diff(43));
  await clock.pass(29_999);
  socket.tell(diff(44));
  assert.equal(socket.sent('sync').length, 1);
  await clock.pass(1);
  socket.tell(diff(45));
  socket.tell(diff(46));
  assert.equal(socket.sent('sync').length, 2);
  room.leave();
});

test('a gap that a reconnect healed is not asked for', async () => {
  const { room, socket, clock, sockets } = await connected();
  socket.tell(diff(44));
  socket.end(1006);
  await clock.pass(5_000);
  sockets[1].welcome({ seq: 60 });
  sockets[1].tell(diff(61));
  assert.equal(sockets[1].sent('sync').length, 0);
  sockets[1].tell(diff(63));
  assert.equal(sockets[1].sent('sync').length, 1);
  room.leave();
});

test('expiring is told, and the session knows', async () => {
  const { room, socket } = await connected();
  const notice = { type: 'expiring', expires_at: '2026-11-21T10:00:00.000Z', minutes: 5 };
  const heard = [];
  room.on('expiring', (it) => heard.push(it));
  socket.tell(notice);
  assert.deepEqual(heard, [notice]);
  assert.equal(room.session.expires_at, notice.expires_at);
  room.leave();
});

test('a session of another name is told, and the room has it', async () => {
  const { room, socket, events } = await connected();
  const session = { ...room.session, title: 'Persuasion' };
  events.length = 0;
  socket.tell({ type: 'session', session });
  assert.deepEqual(events, [['session', { type: 'session', session }]]);
  assert.equal(room.session.title, 'Persuasion');
  room.leave();
});

test('frames of kinds that are not known yet are let by', async () => {
  const { room, socket, events } = await connected();
  events.length = 0;
  socket.tell({ type: 'weather', tomorrow: 'rain' });
  assert.deepEqual(events, []);
  assert.equal(room.status, 'connected');
  room.leave();
});

// Sits

const SIT = { type: 'sit', id: 's1', started_at: '2026-11-21T09:30:00.000Z', ends_at: '2026-11-21T09:40:00.000Z' };

test('a sit is known from its start to its end', async () => {
  const { room, socket } = await connected();
  const heard = [];
  room.on('sit', (frame) => heard.push([frame.completed ?? false, room.sit?.id]));
  assert.equal(room.sit, null);
  socket.tell(SIT);
  assert.equal(room.sit.ends_at, SIT.ends_at);
  socket.tell({ type: 'sit', id: 's1', completed: true });
  assert.equal(room.sit, null);
  assert.deepEqual(heard, [[false, 's1'], [true, undefined]]);
  room.leave();
});

test('an end that is heard again ends no other sit', async () => {
  const { room, socket } = await connected();
  socket.tell(SIT);
  socket.tell({ type: 'sit', id: 's1', completed: true });
  socket.tell({ ...SIT, id: 's2' });
  socket.tell({ type: 'sit', id: 's1', completed: true });
  assert.equal(room.sit.id, 's2');
  room.leave();
});

test('a sit that ended while one was away is forgotten at the return', async () => {
  const { room, socket, clock, sockets } = await connected();
  socket.tell(SIT);
  socket.end(1006);
  assert.equal(room.sit.id, 's1');
  await clock.pass(5_000);
  sockets[1].welcome();
  assert.equal(room.sit, null);
  room.leave();
});

test('a sit is started with a ref that an error can name', async () => {
  const { room, socket } = await connected();
  const errors = [];
  room.on('error', ({ ref }) => errors.push(ref));
  const ref = room.startSit(600);
  assert.deepEqual(socket.sent('sit'), [{ type: 'sit', action: 'start', sit_length_seconds: 600, ref }]);
  socket.tell({ type: 'error', code: 'forbidden', message: 'no', retry: false, ref });
  assert.deepEqual(errors, [ref]);
  room.leave();
});

test("now is the server's clock, set right by each frame that tells it", async () => {
  const { room, socket, clock } = await connected({}, {}, { server_time: '2026-11-21T09:30:00.000Z' });
  await clock.pass(1_500);
  assert.equal(room.now(), Date.parse('2026-11-21T09:30:01.500Z'));
  socket.tell({ type: 'beat', ref: 1, server_time: '2026-11-21T09:30:02.000Z' });
  assert.equal(room.now(), Date.parse('2026-11-21T09:30:02.000Z'));
  room.leave();
});

test('bearer is what shows over HTTP who one is', async () => {
  const guest = await connected();
  assert.equal(guest.room.bearer, 'r1');
  const user = await connected({ session: SESSION, token: 'jwt' });
  assert.equal(user.room.bearer, 'jwt');
  for (const { room } of [guest, user]) room.leave();
});

// Subscriptions

test('off ends a subscription too', async () => {
  const { room, socket } = await connected();
  let heard = 0;
  const handler = () => heard++;
  room.on('change', handler);
  room.off('change', handler);
  room.off('sit', handler);
  socket.tell(diff(42));
  assert.equal(heard, 0);
  room.leave();
});

test('on returns how to end it', async () => {
  const { room, socket } = await connected();
  let heard = 0;
  const off = room.on('change', () => heard++);
  socket.tell(diff(42));
  off();
  off();
  socket.tell(diff(43));
  assert.equal(heard, 1);
  room.leave();
  off();
});

test('a handler that throws is reported and costs nobody else the event', async () => {
  const world = await enter();
  const reported = [];
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.once('uncaughtException', (error) => reported.push(error.message));
  let heard = 0;
  world.room.on('change', () => { throw new Error('mine'); });
  world.room.on('change', () => heard++);
  world.socket.welcome();
  await settle();
  for (const listener of listeners) process.on('uncaughtException', listener);
  assert.equal(heard, 1);
  assert.deepEqual(reported, ['mine']);
  world.room.leave();
});

// Public state

test('update replaces the public state, and does so again after a return', async () => {
  const { room, socket, clock, sockets } = await connected();
  room.update({ page: 3 });
  await clock.pass(100);
  room.update({ page: 4 });
  assert.deepEqual(socket.sent('update').map(({ state }) => state), [{ page: 3 }, { page: 4 }]);
  socket.end(1006);
  room.update({ page: 5 });
  await clock.pass(5_000);
  sockets[1].welcome();
  assert.deepEqual(sockets[1].sent('update').map(({ state }) => state), [{ page: 5 }]);
  room.leave();
});

test('update before the welcome is sent after it', async () => {
  const { room, socket } = await enter();
  room.update({ page: 1 });
  socket.welcome();
  assert.equal(socket.sent('update').length, 1);
  room.leave();
});

test('a state that the server refused is not sent again', async () => {
  for (const [retry, times] of [[false, 0], [true, 1]]) {
    const { room, socket, clock, sockets, events } = await connected();
    room.update({ page: 1 });
    const [{ ref }] = socket.sent('update');
    socket.tell({ type: 'error', code: 'bad_frame', message: 'no', retry, ref });
    assert.equal(events.at(-1)[0], 'error');
    assert.equal(events.at(-1)[1].ref, ref);
    socket.end(1006);
    await clock.pass(5_000);
    sockets[1].welcome();
    assert.equal(sockets[1].sent('update').length, times);
    room.leave();
  }
});

test('a state too large is not sent: the server would close for good', async () => {
  const { room, socket } = await connected();
  assert.throws(() => room.update({ text: 'ä'.repeat(1_100) }), RangeError);
  assert.equal(socket.frames.length, 0);
  room.leave();
});
