// Who a guest is: in one tab, in several of one device, in several rooms of one page.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { join, remembered } from '../../packages/client/lastseen.js';
import { connected, enter, FakeClock, FakeLocks, FakePage, FakeStorage, RESUME_KEY, SESSION, settle, welcome } from './fakes.js';

const LINK = 'https://example.org/join/inv';
const found = () => [[200, { session: { id: SESSION } }]];

/** A device that opens the link in one tab after the other. */
function newDevice() {
  const device = new FakeStorage();
  const locks = new FakeLocks();
  return {
    device,
    async open({ name, token, ...more } = {}, as) {
      const tab = locks.tab();
      const storage = new FakeStorage();
      const page = new FakePage();
      const options = { url: LINK, device, locks: tab, storage, page, ...more };
      const known = await remembered(options);
      const world = await enter({ ...options, name, token }, { storage, answers: found() });
      await settle();
      if (as) world.socket.welcome({ you: as, resume: `r-${as}` });
      return Object.assign(world, { known, protocols: world.socket?.protocols, close() {
        options.page.putAway(false);
        tab.close();
        world.socket.onclose = world.socket.onmessage = () => {};
      } });
    },
  };
}

test('a link that is opened again when its tab is closed leads back to the same guest, without a use of the link', async () => {
  const device = newDevice();
  const first = await device.open({ name: 'Ada' }, 'ada');
  assert.equal(first.known, false);
  first.close();
  const second = await device.open({ name: 'Ada' });
  assert.equal(second.known, true);
  assert.deepEqual(second.fetched, [], 'the link may be used up');
  assert.deepEqual(second.protocols, ['lastseen.v1', 'lastseen.resume.r-ada']);
  assert.equal(second.socket.url.searchParams.get('invite'), null);
  second.room.leave();
});

test('a link that is opened while a tab is there by it is another guest', async () => {
  const device = newDevice();
  const first = await device.open({ name: 'Ada' }, 'ada');
  const second = await device.open({ name: 'Bob' }, 'bob');
  assert.equal(second.known, false);
  assert.equal(second.socket.url.searchParams.get('invite'), 'inv');
  first.close();
  second.close();
  const third = await device.open();
  assert.deepEqual(third.protocols, ['lastseen.v1', 'lastseen.resume.r-bob'], 'the one who was here last');
  const fourth = await device.open();
  assert.deepEqual(fourth.protocols, ['lastseen.v1', 'lastseen.resume.r-ada'], 'and then the other');
  fourth.room.leave();
  third.room.leave();
});

test('two tabs that open the link at once are not the same guest', async () => {
  const device = newDevice();
  (await device.open({ name: 'Ada' }, 'ada')).close();
  const [a, b] = await Promise.all([device.open(), device.open({ name: 'Bob' })]);
  assert.equal([a, b].filter(({ protocols }) => protocols.includes('lastseen.resume.r-ada')).length, 1);
  for (const { room } of [a, b]) room.leave();
});

test('a page that was put away holds no seat', async () => {
  const device = newDevice();
  const first = await device.open({ name: 'Ada' }, 'ada');
  first.page.putAway();
  await settle();
  const second = await device.open({ name: 'Ada' });
  assert.deepEqual(second.protocols, ['lastseen.v1', 'lastseen.resume.r-ada']);
  for (const { room } of [first, second]) room.leave();
});

test('a room that was detached holds no seat, and one that closes the tab forgets nobody', async () => {
  const device = newDevice();
  const first = await device.open({ name: 'Ada' }, 'ada');
  first.room.detach();
  await settle();
  const page = Object.assign(new FakePage(), { onpageswap: null });
  const second = await device.open({ page, leaveOnClose: true }, 'ada');
  assert.equal(second.known, true);
  page.putAway(false);
  assert.equal(second.socket.sent('leave').length, 1);
  await settle();
  assert.equal((await device.open()).known, true);
});

test('who has left, was removed, or whose session is over is not remembered', async () => {
  for (const end of [({ room }) => room.leave(), ({ socket }) => socket.end(4512), ({ socket }) => socket.end(4511)]) {
    const device = newDevice();
    end(await device.open({ name: 'Ada' }, 'ada'));
    await settle();
    assert.equal((await device.open({ name: 'Ada' })).known, false);
    assert.equal(device.device.items.has('lastseen:resume:' + SESSION), false);
  }
});

test('a guest whom the server does not know any more comes in by the link', async () => {
  const device = newDevice();
  (await device.open({ name: 'Ada' }, 'ada')).close();
  const again = await device.open({ name: 'Ada' });
  again.socket.refuse(4501, 'unauthenticated');
  await settle();
  assert.equal(again.sockets.length, 2);
  assert.equal(again.socket.url.searchParams.get('invite'), 'inv');
  again.room.leave();
});

test('another link to the same session is another guest, and a user none', async () => {
  const device = newDevice();
  (await device.open({ name: 'Ada' }, 'ada')).close();
  const host = await device.open({ url: 'https://example.org/join/host', name: 'Ada' });
  assert.equal(host.known, false);
  assert.equal(host.socket.url.searchParams.get('invite'), 'host');
  const user = await device.open({ token: 'jwt' });
  assert.deepEqual(user.protocols, ['lastseen.v1', 'lastseen.bearer.jwt']);
  for (const { room } of [host, user]) room.leave();
});

test('a device remembers the fifty newest links', async () => {
  const device = newDevice();
  for (let n = 0; n < 52; n++) (await device.open({ url: `https://example.org/join/l${n}`, name: 'A' }, `g${n}`)).close();
  const known = await Promise.all([0, 1, 2, 51].map((n) => device.open({ url: `https://example.org/join/l${n}` })));
  assert.deepEqual(known.map((tab) => tab.known), [false, false, true, true]);
});

test('a storage that holds something else, or that breaks, is as good as none', async () => {
  const device = newDevice();
  for (const bad of ['{', '7', 'null', '[[]]', '[7]', '{}', '[["inv","s"]]']) {
    device.device.setItem('lastseen:links', bad);
    const world = await device.open({ name: 'Ada' }, 'ada');
    assert.equal(world.known, false, bad);
    assert.equal(world.room.status, 'connected', bad);
    world.room.leave();
    await settle();
  }
});

test('without locks nothing is kept beyond the tab: two tabs would be one guest', async () => {
  const device = new FakeStorage();
  const world = await connected({ url: LINK, name: 'A', device }, { answers: found() });
  assert.equal(device.items.size, 0);
  world.room.leave();
});

test('where nothing may be kept on the device no seat is held either', async () => {
  const locks = new FakeLocks();
  const full = { getItem: () => null, setItem() { throw new Error('QuotaExceeded'); }, removeItem() {} };
  for (const device of [null, full]) {
    const world = await connected({ url: LINK, name: 'A', device, locks: locks.tab() }, { answers: found() });
    await settle();
    assert.equal(locks.held.size, 0);
    world.room.leave();
  }
});

// Two rooms of one page

/** Sockets that wait, of a page whose storage is the platform's own. */
async function onPage(t, act) {
  const sockets = [];
  const storage = new FakeStorage();
  const clock = new FakeClock();
  const before = Object.getOwnPropertyDescriptor(globalThis, 'sessionStorage');
  Object.defineProperty(globalThis, 'sessionStorage', { value: storage, configurable: true });
  t.after(() => (before ? Object.defineProperty(globalThis, 'sessionStorage', before) : delete globalThis.sessionStorage));
  class Socket {
    readyState = 0;
    frames = [];
    constructor(url, protocols) {
      sockets.push(Object.assign(this, { url: new URL(url), protocols }));
    }
    send(text) { this.frames.push(JSON.parse(text)); }
    close() { this.readyState = 3; }
    welcome() {
      this.readyState = 1;
      this.onmessage({ data: JSON.stringify(welcome()) });
    }
  }
  const enter = (more) => join({ url: 'https://example.org', session: SESSION, invite: 'once', name: 'A', device: null, WebSocket: Socket, clock, page: new FakePage(), ...more });
  await act({ enter, sockets, storage, clock });
}

test('two joins of one session on a page are two connections of one guest, and one use of the link', async (t) => {
  await onPage(t, async ({ enter, sockets, clock }) => {
    const rooms = [enter(), enter()];
    await clock.pass(0);
    assert.equal(sockets.length, 1, 'the second waits until the first is in');
    sockets[0].welcome();
    await settle();
    assert.equal(sockets.length, 2);
    assert.deepEqual(sockets[1].protocols, ['lastseen.v1', 'lastseen.resume.r1']);
    sockets[1].welcome();
    assert.deepEqual(rooms.map(({ status }) => status), ['connected', 'connected']);
    rooms[0].detach();
    assert.equal(rooms[1].status, 'connected');
    rooms[1].leave();
  });
});

test('a first room that fails or is given up lets the second one in', async (t) => {
  for (const end of [({ room }) => room.detach(), ({ room }) => room.leave(), ({ socket }) => socket.onclose({ code: 1006 })]) {
    await onPage(t, async ({ enter, sockets, clock }) => {
      const rooms = [enter(), enter()];
      await clock.pass(0);
      end({ room: rooms[0], socket: sockets[0] });
      await settle();
      assert.equal(sockets.length, 2);
      assert.equal(sockets[1].url.searchParams.get('invite'), 'once');
      sockets[1].welcome();
      assert.equal(rooms[1].status, 'connected');
      for (const room of rooms) room.leave();
      assert.equal(clock.timers.size, 0);
    });
  }
});

test('two users on a page do not wait for each other', async (t) => {
  await onPage(t, async ({ enter, sockets, storage, clock }) => {
    const rooms = [enter({ token: 'jwt' }), enter({ token: 'jwt' })];
    await clock.pass(0);
    assert.equal(sockets.length, 2);
    for (const socket of sockets) socket.welcome();
    assert.equal(storage.getItem(RESUME_KEY), null);
    for (const room of rooms) room.leave();
  });
});
