// Beats and activity, hidden tabs, sleep, and connections that are dead.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { connected, diff, enter, person } from './fakes.js';

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
  assert.deepEqual(socket.closedWith, [4000], '1000, or no code, would be leaving');
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
  assert.deepEqual(socket.closedWith, [4000]);
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
