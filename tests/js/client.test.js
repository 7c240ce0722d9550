import assert from 'node:assert/strict';
import { test } from 'node:test';

import { comesBack, join, remembered, retryDelay } from '../../packages/client/lastseen.js';
import { chance, diff, enter, FakePage, FakeStorage, person, SESSION, settle } from './fakes.js';

const RESUME_KEY = `lastseen:resume:${SESSION}`;

async function connected(options, surroundings, more) {
  const world = await enter(options, surroundings);
  world.socket.welcome(more);
  return world;
}

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

// Beats and activity

test('a beat every beat_ms, with a ref of its own', async () => {
  const { room, socket, clock } = await connected();
  await clock.pass(29_999);
  assert.equal(socket.sent('beat').length, 0);
  for (let n = 1; n <= 5; n++) {
    await clock.pass(n === 1 ? 1 : 30_000);
    assert.equal(socket.sent('beat').length, n);
    socket.answer();
  }
  assert.equal(new Set(socket.sent('beat').map(({ ref }) => ref)).size, 5);
  room.leave();
});

test('the server says how often', async () => {
  const { room, socket, clock } = await connected({}, {}, { beat_ms: 200, dead_after_ms: 500 });
  for (let n = 0; n < 10; n++) {
    await clock.pass(200);
    socket.answer();
  }
  assert.equal(socket.sent('beat').length, 10);
  room.leave();
});

test('active says whether the person did something since the last beat', async () => {
  const { room, socket, clock, page } = await connected();
  const beats = () => socket.sent('beat').map(({ active }) => active);
  page.input('pointermove');
  await clock.pass(30_000);
  assert.deepEqual(beats(), [true]);
  socket.answer();
  await clock.pass(30_000);
  assert.deepEqual(beats(), [true, false]);
  socket.answer();
  room.leave();
});

test('the first thing done after an idle beat is told at once, and only it', async () => {
  const { room, socket, clock, page } = await connected();
  await clock.pass(30_000);
  socket.answer();
  await clock.pass(10_000);
  page.input('keydown');
  assert.deepEqual(socket.sent('beat').map(({ active }) => active), [false, true]);
  for (let n = 0; n < 50; n++) page.input('pointermove');
  await clock.pass(5_000);
  assert.equal(socket.sent('beat').length, 2);
  socket.answer();
  await clock.pass(25_000);
  assert.deepEqual(socket.sent('beat').map(({ active }) => active), [false, true, true]);
  room.leave();
});

test('setActive is told at once, at most once a second', async () => {
  const { room, socket, clock } = await connected();
  await clock.pass(2_000);
  room.setActive();
  assert.deepEqual(socket.sent('beat').map(({ active }) => active), [true]);
  for (let n = 0; n < 100; n++) room.setActive();
  assert.equal(socket.sent('beat').length, 1);
  await clock.pass(1_000);
  assert.deepEqual(socket.sent('beat').map(({ active }) => active), [true, true]);
  await clock.pass(5_000);
  assert.equal(socket.sent('beat').length, 2);
  room.leave();
});

test('a tab that is looked at again says so at once', async () => {
  const { room, socket, clock, page } = await connected();
  await clock.pass(5_000);
  page.see('hidden');
  assert.equal(socket.sent('beat').length, 0);
  page.see('visible');
  assert.deepEqual(socket.sent('beat').map(({ active }) => active), [true]);
  room.leave();
});

// The hidden tab, sleep, and dead connections

test('timers that come once a minute lose nothing', async () => {
  const world = await enter();
  const { clock, sockets, room } = world;
  clock.every = 60_000;
  world.socket.welcome();
  for (let minute = 0; minute < 60; minute++) {
    await clock.pass(60_000);
    world.socket.answer();
  }
  assert.equal(sockets.length, 1, 'the connection was never given up');
  assert.equal(room.status, 'connected');
  assert.ok(world.socket.sent('beat').length >= 58, `${world.socket.sent('beat').length} beats`);
  room.leave();
  assert.equal(clock.timers.size, 0);
});

test('a dead connection is noticed even with timers that come once a minute', async () => {
  const world = await connected();
  world.clock.every = 60_000;
  await world.clock.pass(300_000);
  assert.ok(world.sockets.length > 1);
  world.room.leave();
});

test('a beat without an answer for dead_after is a lost connection', async () => {
  const { room, socket, clock } = await connected();
  await clock.pass(30_000); // the first beat, never answered
  await clock.pass(74_999);
  assert.equal(room.status, 'connected');
  await clock.pass(200);
  assert.equal(room.status, 'reconnecting');
  assert.deepEqual(socket.closedWith, [], 'without a code: 1000 would be leaving');
  room.leave();
});

test('any frame is a sign of life', async () => {
  const { room, socket, clock } = await connected();
  for (let seq = 42; seq < 60; seq++) {
    await clock.pass(40_000);
    socket.tell(diff(seq));
  }
  assert.equal(room.status, 'connected');
  room.leave();
});

test('frames that queued up while the tab was frozen are heard before it gives up', async () => {
  const { room, socket, clock, sockets } = await connected();
  await clock.pass(30_000);
  clock.sleep(200_000);
  await clock.pass(0); // timers first, as a browser may do it
  socket.answer();
  await clock.pass(1_000);
  assert.equal(room.status, 'connected');
  assert.equal(sockets.length, 1);
  room.leave();
});

test('after a wake the connection is probed, and given up soon where it is dead', async () => {
  for (const wake of ['online', 'see']) {
    const { room, socket, clock, page } = await connected();
    await clock.pass(1_000);
    page[wake]('visible');
    assert.equal(socket.sent('beat').length, 1);
    await clock.pass(9_000);
    assert.equal(room.status, 'connected');
    await clock.pass(2_000);
    assert.equal(room.status, 'reconnecting');
    room.leave();
  }
});

test('after a wake a living connection stays', async () => {
  const { room, socket, clock, page, sockets } = await connected();
  page.online();
  socket.answer();
  for (let n = 0; n < 4; n++) {
    await clock.pass(20_000);
    socket.answer();
  }
  assert.equal(sockets.length, 1);
  assert.equal(room.status, 'connected');
  room.leave();
});

test('a connection that is never welcomed is given up', async () => {
  const { room, clock, socket, sockets } = await enter();
  await clock.pass(15_000);
  assert.equal(room.status, 'reconnecting');
  assert.deepEqual(socket.closedWith, []);
  await clock.pass(5_000);
  assert.equal(sockets.length, 2);
  room.leave();
});

test('what an old connection still says is not heard', async () => {
  const { room, clock, sockets, socket } = await connected();
  await clock.pass(110_000);
  assert.ok(sockets.length > 1);
  const { length } = sockets;
  socket.tell(diff(42, { joins: [person('ghost')] }));
  socket.end(4504);
  assert.ok(!room.participants.has('ghost'));
  assert.notEqual(room.status, 'closed');
  assert.equal(sockets.length, length);
  room.leave();
});

// Coming back

const BACK = [1001, 1005, 1006, 1011, 1012, 1013, 1015, 3000, 4000, 4008, 4020, 4029, 4499];
const NOT_BACK = [
  1000, 1002, 1003, 1007, 1009, 4500, 4501, 4503, 4504, 4509, 4510, 4511, 4512, 4522, 4600, 4999,
];

test('the close code alone says whether to come back: below 4500, five aside', async () => {
  for (let code = 1000; code < 5000; code++) {
    assert.equal(comesBack(code), code < 4500 && ![1000, 1002, 1003, 1007, 1009].includes(code), String(code));
  }
});

for (const code of BACK) {
  test(`${code}: comes back, with the resume token and no invite`, async () => {
    const { room, socket, clock, sockets, storage } = await connected();
    socket.end(code, 'why');
    assert.equal(room.status, 'reconnecting');
    assert.equal(sockets.length, 1, 'not at once');
    await clock.pass(5_000);
    assert.equal(sockets.length, 2);
    assert.deepEqual(sockets[1].protocols, ['lastseen.v1', 'lastseen.resume.r1']);
    assert.equal(sockets[1].url.searchParams.get('invite'), null);
    sockets[1].welcome({ resume: 'r2' });
    assert.equal(room.status, 'connected');
    assert.equal(storage.getItem(RESUME_KEY), 'r2');
    room.leave();
  });
}

for (const code of NOT_BACK) {
  test(`${code}: does not come back`, async () => {
    const world = await enter({ session: SESSION, invite: 'inv', name: 'A' });
    world.socket.refuse(code, 'some_code', { message: 'In words.', reason: 'host' });
    assert.equal(world.room.status, 'closed');
    assert.deepEqual(world.named('closed'), [[{ code, error: 'some_code', message: 'In words.', reason: 'host' }]]);
    assert.equal(world.named('error').length, 1);
    await world.clock.pass(600_000);
    world.page.online();
    world.page.see('visible');
    await world.clock.pass(600_000);
    assert.equal(world.sockets.length, 1);
    assert.equal(world.clock.timers.size, 0);
  });
}

test('a close without an error frame brings its own reason', async () => {
  const world = await connected();
  world.socket.end(4600, 'going away');
  assert.deepEqual(world.named('closed'), [[{ code: 4600, error: null, message: 'going away', reason: null }]]);
});

test('an error long ago is not the reason of a close', async () => {
  const world = await connected();
  world.socket.tell({ type: 'error', code: 'bad_frame', message: 'What?', retry: false });
  world.socket.tell(diff(42));
  world.socket.end(4504, '');
  assert.equal(world.named('closed')[0][0].error, null);
});

test('the first wait is 0 to 5 s, then full jitter up to 30 s', () => {
  for (const [n, most] of [[0, 5_000], [1, 10_000], [2, 20_000], [3, 30_000], [4, 30_000], [5_000, 30_000]]) {
    assert.equal(retryDelay(n, () => 0), 0);
    assert.ok(Math.abs(retryDelay(n, () => 0.999999) - most) < 1, `try ${n}`);
    assert.equal(retryDelay(n, () => 0.5), most / 2);
    assert.equal(retryDelay(n, () => 0, 700), 700);
    assert.equal(retryDelay(n, () => 0.5, most), most);
  }
});

test('waits are spread, grow, and begin anew after a welcome', async () => {
  const most = [5_000, 10_000, 20_000, 30_000, 30_000, 30_000];
  const waits = most.map(() => []);
  for (let seed = 1; seed <= 200; seed++) {
    const world = await connected({}, { random: chance(seed) });
    for (let n = 0; n < most.length; n++) {
      world.socket.end(1006);
      waits[n].push(world.clock.next);
      await world.clock.pass(world.clock.next);
      assert.equal(world.sockets.length, n + 2);
    }
    world.socket.welcome();
    world.socket.end(1006);
    waits[0].push(world.clock.next);
    world.room.leave();
  }
  for (const [n, list] of waits.entries()) {
    assert.ok(Math.min(...list) < most[n] * 0.1 && Math.max(...list) > most[n] * 0.9, `try ${n} is spread`);
    assert.ok(Math.max(...list) <= most[n] + 1 && Math.min(...list) >= 0, `try ${n} keeps its bounds`);
  }
});

test('retry_after_ms is the least wait, for this close only', async () => {
  const { room, socket, clock, sockets, page } = await connected();
  socket.refuse(1012, 'draining', { retry_after_ms: 12_000 });
  assert.equal(clock.next, 12_000);
  await clock.pass(3_000);
  page.online(); // even when the network comes back
  page.see('visible');
  assert.equal(clock.next, 9_000);
  await clock.pass(9_000);
  assert.equal(sockets.length, 2);
  sockets[1].end(1006);
  assert.equal(clock.next, 5_000);
  room.leave();
});

test('a shorter retry_after_ms leaves the jitter as it is', async () => {
  const { room, socket, clock } = await connected();
  socket.refuse(1013, 'unavailable', { retry_after_ms: 100 });
  assert.equal(clock.next, 2_500);
  room.leave();
});

for (const wake of ['online', 'see']) {
  test(`a room that waits comes back at once on a wake (${wake})`, async () => {
    const { room, socket, clock, sockets, page } = await connected({}, { random: () => 0.99 });
    socket.end(1006);
    page.see('hidden');
    await clock.pass(1_000);
    assert.equal(sockets.length, 1);
    page[wake]('visible');
    await clock.pass(0);
    assert.equal(sockets.length, 2);
    page.see('visible');
    await clock.pass(0);
    assert.equal(sockets.length, 2, 'one that is opening is left alone by a look at the tab');
    page.online();
    await clock.pass(0);
    assert.equal(sockets.length, 3, 'but begun anew when the network comes back');
    assert.deepEqual(sockets[1].closedWith, []);
    sockets[2].welcome();
    assert.equal(room.status, 'connected');
    room.leave();
  });
}

test('status tells of each turn, and why', async () => {
  const { room, socket, clock, sockets, events } = await connected();
  socket.refuse(1012, 'draining', { retry_after_ms: 1 });
  await clock.pass(5_000);
  sockets[1].end(1006);
  await clock.pass(10_000);
  sockets[2].welcome();
  room.leave();
  const turns = events.filter(([event]) => event === 'status').map(([, status, cause]) => [status, cause?.code]);
  assert.deepEqual(turns, [['connected', undefined], ['reconnecting', 1012], ['connected', undefined], ['closed', 1000]]);
});

test('people who came and went meanwhile are told after the return', async () => {
  const { room, socket, clock, sockets, events } = await connected({}, {}, { participants: [person('me'), person('b')] });
  socket.end(1006);
  await clock.pass(5_000);
  events.length = 0;
  sockets[1].welcome({ participants: [person('me'), person('c')] });
  assert.deepEqual(events.map(([event, p, why]) => [event, p.id ?? p, why]).slice(0, 3), [
    ['status', 'connected', undefined], ['join', 'c', 'welcome'], ['leave', 'b', null],
  ]);
  room.leave();
});

// Who one is

test('a reload comes back with the resume token', async () => {
  const storage = new FakeStorage();
  const before = await connected({ url: 'https://example.org/join/inv', name: 'A' }, { storage, answers: [[200, { session: { id: SESSION } }]] });
  assert.equal(remembered({ url: 'https://example.org', session: SESSION, storage }), true);
  assert.equal(remembered('https://example.org/join/inv', { storage }), true);
  assert.equal(remembered('https://example.org/join/other', { storage }), false);

  const after = await enter({ url: 'https://example.org/join/inv' }, { storage });
  assert.deepEqual(after.fetched, [], 'nor is the invite asked for');
  assert.deepEqual(after.socket.protocols, ['lastseen.v1', 'lastseen.resume.r1']);
  for (const { room } of [before, after]) room.leave();
  assert.equal(remembered('https://example.org/join/inv', { storage }), false, 'who left has left');
});

test('a dead resume token is dropped, and the invite is tried once', async () => {
  const storage = new FakeStorage();
  storage.setItem(RESUME_KEY, 'dead');
  const world = await enter({ session: SESSION, invite: 'inv', name: 'A' }, { storage });
  assert.deepEqual(world.socket.protocols, ['lastseen.v1', 'lastseen.resume.dead']);
  world.socket.refuse(4501, 'unauthenticated');
  await settle();
  assert.equal(world.sockets.length, 2, 'at once');
  assert.deepEqual(world.socket.protocols, ['lastseen.v1']);
  assert.equal(world.socket.url.searchParams.get('invite'), 'inv');
  assert.equal(storage.getItem(RESUME_KEY), null);
  assert.equal(world.room.status, 'connecting');
  world.socket.refuse(4501, 'unauthenticated');
  await world.clock.pass(60_000);
  assert.equal(world.sockets.length, 2, 'once');
  assert.equal(world.room.status, 'closed');
});

test('a dead resume token without an invite is the end', async () => {
  const storage = new FakeStorage();
  storage.setItem(RESUME_KEY, 'dead');
  const world = await enter({ session: SESSION }, { storage });
  world.socket.refuse(4501, 'unauthenticated');
  assert.equal(world.room.status, 'closed');
  assert.equal(storage.getItem(RESUME_KEY), null);
});

test('who was removed, or whose session is gone, keeps no resume token; who was merely refused does', async () => {
  for (const [code, kept] of [[4503, null], [4504, null], [4511, null], [4512, null], [4509, 'r1'], [4500, 'r1'], [1002, 'r1']]) {
    const { socket, storage } = await connected();
    socket.end(code);
    assert.equal(storage.getItem(RESUME_KEY), kept, String(code));
  }
});

test('without any storage the room still comes back as who it was', async () => {
  const broken = { getItem() { throw new Error('SecurityError'); }, setItem() { throw new Error('QuotaExceeded'); } };
  const { room, socket, clock, sockets } = await connected({}, { storage: broken });
  socket.end(1006);
  await clock.pass(5_000);
  assert.deepEqual(sockets[1].protocols, ['lastseen.v1', 'lastseen.resume.r1']);
  room.leave();
});

test('getToken is asked on each connect; a JWT is its own way back', async () => {
  let n = 0;
  const { room, socket, clock, sockets, storage } = await connected({ session: SESSION, invite: 'inv', getToken: async () => `jwt${++n}` });
  assert.deepEqual(socket.protocols, ['lastseen.v1', 'lastseen.bearer.jwt1']);
  assert.equal(socket.url.searchParams.get('invite'), 'inv');
  assert.equal(storage.getItem(RESUME_KEY), null, 'the next person in this tab is not this user');
  socket.refuse(4001, 'token_expired');
  await clock.pass(5_000);
  assert.deepEqual(sockets[1].protocols, ['lastseen.v1', 'lastseen.bearer.jwt2']);
  room.leave();
});

test('a user does not come in as the guest whom this tab remembers', async () => {
  const storage = new FakeStorage();
  storage.setItem(RESUME_KEY, 'guest');
  const { room, socket } = await enter({ session: SESSION, token: 'jwt' }, { storage });
  assert.deepEqual(socket.protocols, ['lastseen.v1', 'lastseen.bearer.jwt']);
  room.leave();
});

test('getToken that fails is asked again later', async () => {
  let n = 0;
  const world = await enter({ session: SESSION, getToken: () => { if (!n++) throw new Error('offline'); return 'jwt'; } });
  assert.equal(world.room.status, 'reconnecting');
  assert.equal(world.named('status')[0][1].message, 'offline');
  await world.clock.pass(5_000);
  assert.deepEqual(world.socket.protocols, ['lastseen.v1', 'lastseen.bearer.jwt']);
  world.room.leave();
});

test('getToken that never answers does not hold the room for ever', async () => {
  let n = 0;
  const world = await enter({ session: SESSION, getToken: () => (n++ ? 'jwt' : new Promise(() => {})) });
  await world.clock.pass(20_000);
  assert.equal(world.sockets.length, 1);
  world.room.leave();
});

test('a JWT that has expired and cannot be renewed is the end', async () => {
  const world = await connected({ session: SESSION, token: 'old' });
  world.socket.refuse(4001, 'token_expired');
  assert.equal(world.room.status, 'closed');
  assert.equal(world.clock.timers.size, 0);
});

test('a token that cannot be sent at all is the end', async () => {
  const world = await enter({ session: SESSION, token: 'two words' });
  assert.equal(world.room.status, 'closed');
  assert.equal(world.named('closed')[0][0].code, 4501);
});

// Public state

test('update replaces the public state, and does so again after a return', async () => {
  const { room, socket, clock, sockets } = await connected();
  room.update({ page: 3 });
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

// Leaving

test('leave says so, closes with 1000 and leaves nothing behind', async () => {
  const world = await connected();
  const { room, socket, clock, page, storage } = world;
  room.leave();
  assert.deepEqual(socket.frames.at(-1), { type: 'leave' });
  assert.deepEqual(socket.closedWith, [1000]);
  assert.equal(room.status, 'closed');
  assert.equal(clock.timers.size, 0);
  assert.equal(storage.getItem(RESUME_KEY), null);
  assert.deepEqual(world.named('closed'), [[{ code: 1000, error: null, message: '', reason: 'left' }]]);

  world.events.length = 0;
  const { length } = socket.frames;
  room.leave();
  room.setActive();
  room.update({ page: 1 });
  page.input();
  page.online();
  page.see('visible');
  socket.tell(diff(42, { joins: [person('late')] }));
  socket.end(1006);
  await clock.pass(600_000);
  assert.deepEqual(world.events, []);
  assert.equal(socket.frames.length, length);
  assert.equal(world.sockets.length, 1);
  assert.equal(clock.timers.size, 0);
});

/** The page goes away; `swapped` where another document takes its place. */
function goAway(page, { swapped = false, persisted = false } = {}) {
  if (swapped) page.dispatchEvent(new Event('pageswap'));
  page.dispatchEvent(Object.assign(new Event('pagehide'), { persisted }));
}
const swapping = () => Object.assign(new FakePage(), { onpageswap: null });

test('a tab that closes leaves, where that was asked for', async () => {
  const { socket, page } = await connected({ leaveOnClose: true, page: swapping() });
  goAway(page);
  assert.equal(socket.sent('leave').length, 1);
  assert.deepEqual(socket.closedWith, [1000]);
});

test('a tab that closes is silent where it was not asked for, or the browser cannot tell', async () => {
  for (const options of [{ page: swapping() }, { leaveOnClose: true }]) {
    const { room, socket, page } = await connected(options);
    goAway(page);
    assert.equal(socket.sent('leave').length, 0);
    assert.equal(room.status, 'connected');
    room.leave();
  }
});

test('a reload, another page and a page that is kept are no leave; the close after them is one', async () => {
  const { socket, page } = await connected({ leaveOnClose: true, page: swapping() });
  goAway(page, { swapped: true });
  goAway(page, { persisted: true });
  goAway(page, { swapped: true, persisted: true });
  assert.equal(socket.sent('leave').length, 0);
  goAway(page);
  assert.equal(socket.sent('leave').length, 1);
});

test('leave while connecting, while waiting, and while a token is fetched', async () => {
  const opening = await enter();
  opening.room.leave();
  assert.deepEqual(opening.socket.closedWith, [1000]);
  assert.equal(opening.clock.timers.size, 0);

  const waiting = await connected();
  waiting.socket.end(1006);
  waiting.room.leave();
  assert.equal(waiting.clock.timers.size, 0);
  await waiting.clock.pass(60_000);
  assert.equal(waiting.sockets.length, 1);

  let give;
  const asking = await enter({ session: SESSION, getToken: () => new Promise((resolve) => { give = resolve; }) });
  asking.room.leave();
  give('jwt');
  await settle();
  assert.equal(asking.sockets.length, 0);
  assert.equal(asking.clock.timers.size, 0);
});

test('leave from within any event', async () => {
  for (const event of ['status', 'join', 'change', 'error', 'expiring']) {
    const world = await enter();
    world.room.on(event, () => world.room.leave());
    world.socket.welcome();
    if (event === 'error') world.socket.tell({ type: 'error', code: 'rate_limited', message: '', retry: true });
    if (event === 'expiring') world.socket.tell({ type: 'expiring', expires_at: '', minutes: 5 });
    assert.equal(world.room.status, 'closed', event);
    assert.equal(world.clock.timers.size, 0, event);
    assert.equal(world.events.filter(([name]) => name === 'closed').length, 1, event);
    assert.equal(world.events.at(-1)[0], 'closed', event);
  }
});

test('leave from within status while it waits to come back', async () => {
  const world = await connected();
  world.room.on('status', (status) => { if (status === 'reconnecting') world.room.leave(); });
  world.socket.end(1006);
  assert.equal(world.clock.timers.size, 0);
});

test('no room keeps more than one timer', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = chance(seed);
    const world = await enter({}, { random });
    const most = () => assert.ok(world.clock.timers.size <= 1, `seed ${seed}: ${world.clock.timers.size} timers`);
    for (let step = 0; step < 60; step++) {
      const { socket } = world;
      const dice = Math.floor(random() * 10);
      if (dice === 0 && socket.readyState === 0) socket.welcome();
      if (dice === 1 && socket.readyState < 2) socket.end([1006, 1012, 4008][step % 3]);
      if (dice === 2) world.page.online();
      if (dice === 3) world.page.see('visible');
      if (dice === 4) world.page.input();
      if (dice === 5) world.room.setActive();
      if (dice === 6 && socket.readyState === 1) socket.answer();
      if (dice === 7 && socket.readyState === 1) socket.tell(diff(100 + step));
      most();
      await world.clock.pass(random() * 40_000);
      most();
    }
    assert.notEqual(world.room.status, 'closed');
    assert.equal(world.sockets.filter(({ readyState }) => readyState < 2).length <= 1, true, `seed ${seed}: one socket`);
    world.room.leave();
    assert.equal(world.clock.timers.size, 0, `seed ${seed}`);
  }
});
