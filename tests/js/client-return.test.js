// After a loss: whether, when and as whom the client comes back.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { comesBack, join, remembered, retryDelay } from '../../packages/client/lastseen.js';
import { chance, connected, diff, enter, FakeStorage, person, RESUME_KEY, SESSION, settle } from './fakes.js';

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
    assert.deepEqual(sockets[1].closedWith, [4000]);
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
  assert.equal(await remembered({ url: 'https://example.org', session: SESSION, storage }), true);
  assert.equal(await remembered('https://example.org/join/inv', { storage }), true);
  assert.equal(await remembered('https://example.org/join/other', { storage }), false);

  const after = await enter({ url: 'https://example.org/join/inv' }, { storage });
  assert.deepEqual(after.fetched, [], 'nor is the invite asked for');
  assert.deepEqual(after.socket.protocols, ['lastseen.v1', 'lastseen.resume.r1']);
  for (const { room } of [before, after]) room.leave();
  assert.equal(await remembered('https://example.org/join/inv', { storage }), false, 'who left has left');
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
