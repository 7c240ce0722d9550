// How fast states are sent: the newest ten times a second, and never so that the server refuses.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chance, connected, diff, enter } from './fakes.js';

const states = (socket) => socket.sent('update').map(({ state }) => state);

const PACE = { updates_per_second: 20, frames_per_minute: 100 };

/**
 * Counts the frames of a socket as the server does (100 a minute over a burst of 20, and updates as `pace` says), `delay()`
 * ms after they were sent and in order; answers beats as late again. How many were refused is in `over`.
 */
function counted(socket, clock, pace, delay = () => 0) {
  const way = { over: 0, frames: 0, freeAt: clock.now(), there: 0, back: 0 };
  const { send } = socket;
  socket.send = (text) => {
    send.call(socket, text);
    const frame = JSON.parse(text);
    way.there = Math.max(way.there, clock.now() + delay());
    clock.setTimeout(() => {
      way.frames++;
      if (way.freeAt - clock.now() > 600 * 19) return void way.over++;
      way.freeAt = Math.max(way.freeAt, clock.now()) + (pace && frame.type === 'update' ? 500 / pace.updates_per_second : 600);
      if (frame.type !== 'beat') return;
      way.back = Math.max(way.back, clock.now() + delay());
      clock.setTimeout(() => socket.readyState === 1 && socket.tell({ type: 'beat', ref: frame.ref }), way.back - clock.now());
    }, way.there - clock.now());
  };
  return way;
}

test('a state is sent at once, and the newest of those that follow a tenth of a second later', async () => {
  const { room, socket, clock } = await connected();
  for (const page of [1, 2, 3]) room.update({ page });
  assert.deepEqual(states(socket), [{ page: 1 }]);
  await clock.pass(99);
  room.update({ page: 4 });
  assert.equal(states(socket).length, 1);
  await clock.pass(1);
  assert.deepEqual(states(socket), [{ page: 1 }, { page: 4 }]);
  await clock.pass(10_000);
  assert.equal(states(socket).length, 2, 'and not again');
  room.leave();
});

test('a state is what it was when it was set', async () => {
  const { room, socket, clock } = await connected();
  const state = { page: 1 };
  room.update({ page: 0 });
  room.update(state);
  state.page = 2;
  await clock.pass(100);
  assert.deepEqual(states(socket).at(-1), { page: 1 });
  room.leave();
});

for (const pace of [PACE, { ...PACE, updates_per_second: 3 }, undefined]) for (const [name, delay] of [
  ['without delay', () => 0],
  ['over a network of 300 ms', () => 300],
  ['over a network that stands still for up to 20 s', (random = chance(7)) => (random() < 0.02 ? random() * 20_000 : 40)],
]) {
  test(`ten updates a second for ten minutes, activity and beats: no frame too many, ${name}, ${pace?.updates_per_second ?? 'old'}`, async () => {
    const random = chance(3);
    const { room, socket, clock, page, sockets } = await connected({}, {}, { pace });
    socket.answer();
    const server = counted(socket, clock, pace, () => delay(random));
    let last;
    for (let n = 0; n < 6_000; n++) {
      room.update((last = { n }));
      if (n % 10 === 0) room.setActive();
      if (n % 7 === 0) page.input();
      await clock.pass(100);
    }
    assert.equal(server.over, 0);
    assert.ok(states(socket).length > 300, `${states(socket).length} states`);
    await clock.pass(60_000);
    assert.deepEqual(states(socket).at(-1), last, 'the last one is always sent');
    assert.equal(sockets.length, 1);
    room.leave();
  });
}

test('where the welcome says so, as good as every state of ten a second is sent', async () => {
  const { room, socket, clock } = await connected({}, {}, { pace: PACE });
  socket.answer();
  const server = counted(socket, clock, PACE, () => 80);
  for (let n = 0; n < 3_000; n++) {
    room.update({ n });
    await clock.pass(100);
  }
  assert.equal(server.over, 0);
  assert.ok(states(socket).length > 2_900, `${states(socket).length} of 3,000 states`);
  room.leave();
});

test('what no beat has answered is little', async () => {
  const { room, socket, clock } = await connected({}, {}, { dead_after_ms: 600_000 });
  for (let n = 0; n < 600; n++) {
    room.update({ n });
    await clock.pass(100);
  }
  const { length } = socket.frames;
  assert.ok(length <= 13, `${length} frames`);
  socket.answer();
  assert.deepEqual(states(socket).at(-1), { n: 599 }, 'goes on with the newest');
  room.leave();
});

test('a return sends the newest state, once', async () => {
  const { room, socket, clock, sockets } = await connected();
  room.update({ page: 1 });
  room.update({ page: 2 });
  socket.end(1006);
  room.update({ page: 3 });
  await clock.pass(5_000);
  sockets[1].welcome();
  await clock.pass(1_000);
  assert.deepEqual(states(sockets[1]), [{ page: 3 }]);
  room.leave();
});

test('a state that waits is sent before the end: at a leave, a detach, and when the page goes or is hidden', async () => {
  for (const end of [
    ({ room }) => room.leave(),
    ({ room }) => room.detach(),
    ({ page }) => page.putAway(true),
    ({ page }) => page.putAway(false),
    ({ page }) => page.freeze(),
    ({ page }) => page.see('hidden'),
  ]) {
    const world = await connected();
    world.room.update({ page: 1 });
    world.room.update({ page: 2 });
    end(world);
    assert.deepEqual(states(world.socket), [{ page: 1 }, { page: 2 }], String(end));
    world.room.leave();
  }
});

test('a frame that was refused for the pace costs no state', async () => {
  const { room, socket, clock } = await connected();
  room.update({ page: 1 });
  socket.tell({ type: 'error', code: 'rate_limited', message: 'Too fast.', retry: true, retry_after_ms: 600 });
  assert.equal(states(socket).length, 1, 'not at once');
  await clock.pass(10_000);
  assert.deepEqual(states(socket), [{ page: 1 }, { page: 1 }]);
  room.leave();
});

test('a handler may set the state', async () => {
  const world = await enter();
  let n = 0;
  world.room.on('change', () => world.room.update({ n: ++n }));
  world.socket.welcome();
  world.socket.tell(diff(42));
  await world.clock.pass(100);
  assert.deepEqual(states(world.socket), [{ n: 1 }, { n: 2 }]);
  world.room.leave();
});
