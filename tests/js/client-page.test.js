// The life of a page: put away and taken out again, frozen, discarded, rendered before anybody has come; and a room that a page gives up.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { connected, diff, enter, FakePage, FakeStorage, person, RESUME_KEY, SESSION } from './fakes.js';

for (const [name, away, back] of [
  ['the back/forward cache', 'putAway', ['comeBack']],
  ['the back/forward cache, as Chromium says it', 'putAway', ['resume', 'comeBack']],
  ['a frozen tab', 'freeze', ['resume']],
]) {
  test(`${name}: the socket is dropped at once, and another opened at once on the return`, async () => {
    const { room, page, socket, sockets, clock, named } = await connected();
    page[away]();
    page.see('hidden');
    page.freeze();
    assert.equal(room.status, 'reconnecting');
    assert.deepEqual(socket.closedWith, [4000], 'a loss, and no leave');
    assert.equal(socket.sent('leave').length, 0);
    assert.equal(clock.timers.size, 0, 'nothing runs where it is');
    await clock.pass(600_000);
    assert.equal(sockets.length, 1);

    for (const event of back) page[event]();
    page.see('visible');
    await clock.pass(0);
    assert.equal(sockets.length, 2, 'one, without a wait');
    assert.deepEqual(sockets[1].protocols, ['lastseen.v1', 'lastseen.resume.r1']);
    socket.end(1006); // now the browser says it
    assert.equal(room.status, 'reconnecting');
    sockets[1].welcome();
    socket.tell(diff(50, { joins: [person('ghost')] }));
    assert.equal(room.status, 'connected');
    assert.ok(!room.participants.has('ghost'));
    await clock.pass(1_000);
    assert.equal(sockets.length, 2);
    room.leave();
  });
}

test('why a page waits is said', async () => {
  const { room, page, events } = await connected();
  page.putAway();
  const [, status, cause] = events.findLast(([event]) => event === 'status');
  assert.deepEqual([status, cause], ['reconnecting', { code: 1001, error: null, message: '', reason: 'away' }]);
  room.leave();
});

test('a page that was put away while it waited goes on waiting as long as the server asked', async () => {
  const { room, page, socket, sockets, clock } = await connected();
  socket.refuse(1012, 'draining', { retry_after_ms: 12_000 });
  page.putAway();
  await clock.pass(3_000);
  page.comeBack();
  assert.equal(clock.next, 9_000);
  await clock.pass(9_000);
  assert.equal(sockets.length, 2);
  room.leave();
});

test('a page that was put away before its first welcome begins anew', async () => {
  const { room, page, sockets, clock } = await enter();
  page.putAway();
  assert.deepEqual(sockets[0].closedWith, [4000]);
  page.comeBack();
  await clock.pass(0);
  sockets[1].welcome();
  assert.equal(room.status, 'connected');
  room.leave();
});

test('a pageshow of a new page, and one after the end, mean nothing', async () => {
  const { room, page, socket, sockets, clock } = await connected();
  const { length } = socket.frames;
  page.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: false }));
  assert.equal(socket.frames.length, length);
  room.leave();
  page.comeBack();
  page.putAway();
  await clock.pass(60_000);
  assert.equal(sockets.length, 1);
});

test('a page that closes only loses its socket', async () => {
  const { room, page, socket } = await connected();
  page.putAway(false);
  assert.equal(socket.closedWith, null, 'the browser says it with 1001');
  assert.equal(room.status, 'connected');
  room.leave();
});

test('a discarded tab is loaded anew, and comes back as who it was', async () => {
  const storage = new FakeStorage();
  const { socket } = await connected({}, { storage });
  socket.end(1006); // the tab is gone, and its storage is not
  const page = new FakePage();
  page.document.wasDiscarded = true;
  const again = await enter({ session: SESSION, invite: 'inv', page }, { storage });
  assert.deepEqual(again.socket.protocols, ['lastseen.v1', 'lastseen.resume.r1']);
  again.room.leave();
});

test('a page that is rendered before anybody has come joins when somebody does', async () => {
  const page = new FakePage();
  page.document.prerendering = true;
  const world = await enter({ page });
  await world.clock.pass(60_000);
  assert.equal(world.sockets.length, 0);
  page.document.dispatchEvent(new Event('prerenderingchange'));
  await world.clock.pass(0);
  assert.equal(world.sockets.length, 1);
  world.room.leave();
});

// A room that is given up without a leave

test('detach closes without a leave, keeps the way back, and says nothing', async () => {
  const world = await connected();
  const { room, socket, clock, storage, page } = world;
  world.events.length = 0;
  room.detach();
  assert.deepEqual(socket.sent('leave'), []);
  assert.deepEqual(socket.closedWith, [4000]);
  assert.equal(storage.getItem(RESUME_KEY), 'r1');
  assert.equal(room.status, 'closed');
  room.detach();
  room.leave();
  room.update({ page: 1 });
  for (const wake of ['online', 'comeBack', 'resume']) page[wake]();
  socket.end(1006);
  await clock.pass(600_000);
  assert.deepEqual(world.events, []);
  assert.equal(clock.timers.size, 0);
  assert.equal(world.sockets.length, 1);
  assert.equal(storage.getItem(RESUME_KEY), 'r1', 'a leave after it forgets nothing');
});

test('what is mounted twice opens one socket, and what is loaded anew comes back as who it was', async () => {
  const first = await enter({ session: SESSION, invite: 'once', name: 'A', begin: false });
  const { storage } = first;
  first.room.detach();
  assert.equal(first.sockets.length, 0);
  const second = await connected({ session: SESSION, invite: 'once', name: 'A' }, { storage });
  second.room.detach();
  const third = await enter({ session: SESSION, invite: 'once', name: 'A' }, { storage });
  assert.deepEqual(third.socket.protocols, ['lastseen.v1', 'lastseen.resume.r1']);
  assert.equal(third.socket.url.searchParams.get('invite'), null, 'no other use of the link');
  third.room.leave();
});

test('disposal is detaching', async () => {
  const { room, socket } = await connected();
  room[Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
  assert.deepEqual(socket.closedWith, [4000]);
  assert.equal(room.status, 'closed');
});

test('a detach while a token is fetched opens nothing', async () => {
  let give;
  const world = await enter({ session: SESSION, getToken: () => new Promise((resolve) => { give = resolve; }) });
  world.room.detach();
  give('jwt');
  await world.clock.pass(60_000);
  assert.equal(world.sockets.length, 0);
});
