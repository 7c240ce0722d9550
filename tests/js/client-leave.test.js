// Leaving: by a call, by closing the tab, from anywhere.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chance, connected, diff, enter, FakePage, person, RESUME_KEY, SESSION, settle } from './fakes.js';

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
  page.putAway(persisted);
}
const swapping = () => Object.assign(new FakePage(), { onpageswap: null });

test('a tab that closes leaves, where that was asked for', async () => {
  const { socket, page } = await connected({ leaveOnClose: true, page: swapping() });
  goAway(page);
  assert.equal(socket.sent('leave').length, 1);
  assert.deepEqual(socket.closedWith, [1000]);
});

test('in Firefox, which has no pageswap, a close is a leave; what the socket does not outlive is none', async () => {
  const firefox = () => Object.assign(new FakePage(), { mozInnerScreenX: 0 });
  const goesOn = (page) => page.dispatchEvent(new Event('beforeunload'));

  const closing = await connected({ leaveOnClose: true, page: firefox(), random: () => 0 });
  closing.socket.end(1006);
  await closing.clock.pass(0);
  closing.sockets.at(-1).welcome();
  goesOn(closing.page);
  goAway(closing.page);
  assert.equal(closing.sockets.at(-1).sent('leave').length, 1);

  // The other page is slow, and the client is back before it.
  const reloading = await connected({ leaveOnClose: true, page: firefox(), random: () => 0 });
  goesOn(reloading.page);
  reloading.socket.end(1001);
  await reloading.clock.pass(0);
  reloading.sockets.at(-1).welcome();
  goAway(reloading.page);
  assert.deepEqual(reloading.sockets.map((socket) => socket.sent('leave').length), [0, 0]);
  reloading.room.leave();
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
  const { sockets, clock, page } = await connected({ leaveOnClose: true, page: swapping() });
  goAway(page, { swapped: true });
  for (const way of [{ persisted: true }, { swapped: true, persisted: true }]) {
    goAway(page, way);
    page.comeBack();
    await clock.pass(0);
    sockets.at(-1).welcome();
  }
  assert.deepEqual(sockets.map((socket) => socket.sent('leave').length), [0, 0, 0]);
  goAway(page);
  assert.equal(sockets[2].sent('leave').length, 1);
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
