// The fake server for tests of apps: the library against it, and whether it says what the real one says.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { join, remembered } from '../../packages/client/lastseen.js';
import { fakeServer } from '../../packages/client/testing.js';

/** Somebody with the library, and everything that the room says. */
function enter(server, target, options) {
  const tab = options.page ? options : server.newTab();
  const room = join({ ...(typeof target === 'string' ? { url: target } : target), ...tab, ...options });
  const events = [];
  for (const event of ['join', 'update', 'leave', 'status', 'session', 'expiring', 'sit', 'closed', 'error']) {
    room.on(event, (...details) => events.push([event, ...details]));
  }
  const told = () => events.splice(0).map(([event, what, why]) => [event, what.name ?? what.code ?? what, ...(event === 'update' ? [what.status] : event === 'leave' ? [why] : [])].join(' '));
  return Object.assign(room, { tab, events, told });
}

test('people come, change, are lost, come back and go, and the room is told as by the real one', async () => {
  const server = fakeServer();
  const session = server.open({ title: 'Evening' });
  const ada = enter(server, session.url, { name: 'Ada' });
  await server.pass(100);
  assert.equal(ada.status, 'connected');
  assert.equal(ada.session.title, 'Evening');
  ada.told();

  const bob = session.join('Bob', { state: { page: 1 } });
  await server.pass(99);
  assert.deepEqual(ada.told(), [], 'changes are gathered');
  await server.pass(1);
  assert.deepEqual(ada.told(), ['join Bob']);
  bob.update({ page: 2 });
  await server.pass(100);
  assert.deepEqual([...ada.participants.values()].map(({ name, state }) => [name, state]), [['Ada', {}], ['Bob', { page: 2 }]]);
  ada.told();
  bob.lose();
  await server.pass(100);
  assert.deepEqual(ada.told(), ['update Bob reconnecting']);
  bob.back();
  await server.pass(15_000);
  assert.deepEqual(ada.told(), ['update Bob active']);
  bob.lose();
  await server.pass(15_200);
  assert.deepEqual(ada.told().filter((text) => /Bob/.test(text)), ['update Bob reconnecting', 'leave Bob timeout']);
  bob.back();
  await server.pass(100);
  bob.leave();
  await server.pass(100);
  assert.deepEqual(ada.told().filter((text) => /Bob/.test(text)), ['join Bob', 'leave Bob left']);
  await server.pass(300_200);
  assert.equal(ada.participants.get(ada.you).status, 'idle');
  ada.tab.page.input();
  await server.pass(200);
  assert.equal(ada.participants.get(ada.you).status, 'active');
  ada.leave();
  await server.pass(0);
  assert.equal(session.occupancy, 0);
});

test('a network that is cut, a server that is restarted and a reload are no leaves', async () => {
  const server = fakeServer({ grace: 60_000 });
  const session = server.open();
  const ada = enter(server, session.url, { name: 'Ada' });
  const bob = enter(server, session.url, { name: 'Bob' });
  await server.pass(200);
  ada.told();
  server.cut();
  await server.pass(20_000);
  assert.deepEqual([ada.status, bob.status], ['reconnecting', 'reconnecting']);
  assert.deepEqual(session.participants.map(({ status }) => status), ['reconnecting', 'reconnecting']);
  server.mend();
  await server.pass(30_000);
  server.restart();
  await server.pass(5_000);
  bob.detach();
  const again = enter(server, session.url, server.newTab(bob.tab));
  await server.pass(1_000);
  assert.equal(again.you, bob.you);
  assert.ok(!ada.told().some((text) => /leave|join/.test(text)));
  assert.equal(await remembered(session.url, server.newTab(bob.tab)), true);
  bob.tab.page.putAway(); // of a room that was given up
  again.tab.page.putAway();
  await server.pass(200);
  assert.equal(ada.participants.get(again.you).status, 'reconnecting');
  again.tab.page.comeBack();
  await server.pass(200);
  assert.equal(ada.participants.get(again.you).status, 'active');
  for (const room of [ada, again]) room.leave();
});

test('refusals are those of the protocol', async () => {
  const server = fakeServer();
  const session = server.open({ maxParticipants: 2 });
  const end = async (target, options, act = () => {}) => {
    const room = enter(server, target, { name: 'X', ...options });
    await server.pass(100);
    act(room);
    await server.pass(6_000);
    const closed = room.events.find(([event]) => event === 'closed')?.[1];
    room.leave();
    await server.pass(0);
    return [closed?.code, closed?.error, closed?.reason];
  };
  const once = session.invite({ maxUses: 1 });
  const first = enter(server, once, { name: 'First' });
  await server.pass(100);
  assert.deepEqual(await end(once), [4510, 'invite_expired', null]);
  assert.deepEqual(await end('https://lastseen.test/join/lsi_other'), [4504, 'invite_not_found', null]);
  assert.deepEqual(await end({ url: 'https://lastseen.test', session: session.id }), [4501, 'unauthenticated', null]);
  assert.deepEqual(await end({ url: 'https://lastseen.test', session: session.id }, { token: server.token({ sub: 'u1' }) }), [4503, 'forbidden', null]);
  assert.deepEqual(await end(session.url, { name: undefined }), [4522, 'invalid_request', null]);
  assert.deepEqual(await end(session.url, { token: server.token({ sub: 'u1', seconds: -1 }) }), [4001, 'token_expired', null]);
  assert.deepEqual(await end(session.url, {}, (room) => session.remove(room.you)), [4512, 'removed', null]);
  session.join('Second');
  assert.deepEqual(await end(session.url), [4509, 'session_full', null]);
  session.close();
  await server.pass(0);
  assert.equal(first.status, 'closed');
  assert.equal(first.events.findLast(([event]) => event === 'closed')[1].reason, 'host');
  assert.deepEqual(await end(session.url), [4510, 'invite_expired', null]);
});

test('users are one person with several connections, and their tokens are renewed', async () => {
  const server = fakeServer();
  const session = server.open();
  let asked = 0;
  const getToken = () => (asked++, server.token({ sub: 'u1', name: 'Ünal ✓', seconds: 60 }));
  const rooms = [enter(server, session.url, { getToken }), enter(server, session.url, { getToken })];
  await server.pass(200);
  assert.equal(session.occupancy, 1);
  assert.deepEqual(session.participants.map(({ name, user_id, connections, role }) => [name, user_id, connections, role]), [['Ünal ✓', 'u1', 2, 'participant']]);
  await server.pass(600_000);
  assert.ok(asked > 10);
  assert.ok(rooms.every((room) => room.events.filter(([event]) => event === 'status').length === 1), 'on one connection');
  for (const room of rooms) room.leave();
});

test('sits, titles and notices', async () => {
  const server = fakeServer();
  const session = server.open();
  const host = enter(server, session.hostUrl, { name: 'Ada' });
  const guest = enter(server, session.url, { name: 'Bob' });
  await server.pass(200);
  guest.startSit(60);
  host.startSit(60);
  await server.pass(10);
  assert.equal(guest.events.findLast(([event]) => event === 'error')[1].code, 'forbidden');
  assert.equal(guest.sit.id, host.sit.id);
  await server.pass(60_000);
  assert.equal(guest.sit, null);
  session.rename('Morning');
  session.expiring(5);
  await server.pass(0);
  assert.equal(guest.session.title, 'Morning');
  assert.equal(guest.events.at(-1)[1].minutes, 5);
  for (const room of [host, guest]) room.leave();
});

test('states are paced as by the real server, and the library keeps that pace', async () => {
  const server = fakeServer();
  const session = server.open();
  const ada = enter(server, session.url, { name: 'Ada' });
  const bob = enter(server, session.url, { name: 'Bob' });
  await server.pass(200);
  let seen = 0;
  bob.on('update', ({ id }) => id === ada.you && seen++);
  for (let n = 0; n < 1_000; n++) {
    ada.update({ n });
    await server.pass(100);
  }
  await server.pass(1_000);
  assert.deepEqual(bob.participants.get(ada.you).state, { n: 999 });
  assert.ok(seen > 950, `${seen} of 1,000`);
  assert.deepEqual(ada.told().filter((text) => /rate_limited|reconnecting/.test(text)), []);

  const { WebSocket } = server.newTab();
  const socket = new WebSocket(`wss://lastseen.test/v1/reading-sessions/${session.id}/ws?name=Cid&invite=${session.url.split('/').pop()}`, ['lastseen.v1']);
  const closed = new Promise((done) => { socket.onclose = done; });
  await server.pass(0);
  for (let n = 0; n < 42; n++) socket.send(JSON.stringify({ type: 'beat', ref: n }));
  await server.pass(0);
  assert.equal((await closed).code, 4029);
  for (const room of [ada, bob]) room.leave();
});

// Whether it says what the real one says: the scenario of tests/browser/record.js

const recorded = JSON.parse(readFileSync(new URL('recorded.json', import.meta.url)));

/** What frames say of a person until its first leave: each status and state, and the reason. Quality and connections have times of their own. */
function storyOf(name, frames) {
  const ids = new Set(frames.flatMap(({ participants = [], joins = [] }) => [...participants, ...joins]).filter((person) => person.name === name).map(({ id }) => id));
  const story = frames.flatMap(({ type, participants = [], joins = [], updates = [], leaves = [] }) => [
    ...[...participants, ...joins, ...updates].filter(({ id }) => ids.has(id)).map(({ status, state, role }) => [role, status, state]),
    ...leaves.filter(({ id }) => ids.has(id)).map(({ reason }) => [type, reason]),
  ]);
  const end = story.findIndex(([kind]) => kind === 'diff');
  const told = end < 0 ? story : story.slice(0, end + 1);
  return told.map((each) => JSON.stringify(each)).filter((each, at, all) => each !== all[at - 1]);
}

/** The kinds of frames in the order of their first coming, and the keys of each, with the types of their values. */
function formsOf(frames) {
  const form = (value) => (Array.isArray(value) ? 'list' : value && typeof value === 'object' ? Object.keys(value).sort().join() : typeof value);
  const people = ({ participants = [], joins = [], updates = [] }) => [...participants, ...joins, ...updates];
  return {
    ...Object.fromEntries(frames.map((frame) => [frame.type, Object.entries(frame).filter(([key]) => key !== 'ref').map(([key, value]) => `${key}: ${key === 'resume' ? 'string' : form(value)}`).sort()])),
    person: [...new Set(frames.flatMap(people).map((person) => Object.keys(person).sort().join()))],
  };
}

test('it says what the real server said', async () => {
  const server = fakeServer({ detailLimit: 6, grace: 1_000, idleAfter: 1_000, beat: 2_000, ping: 2_000, deadAfter: 6_000 });
  const session = server.open({ title: 'Recorded' });
  const frames = [];
  const tab = server.newTab();
  const WebSocket = class extends tab.WebSocket {
    set onmessage(handler) {
      this.handle = ({ data }) => {
        frames.push(JSON.parse(data));
        handler({ data });
      };
    }
    get onmessage() {
      return this.handle;
    }
  };
  const ear = enter(server, session.hostUrl, { ...tab, WebSocket, name: 'Ear' });
  await server.pass(1_200);
  const [ada, bob, cid] = ['Ada', 'Bob', 'Cid'].map((name) => enter(server, session.url, { name }));
  await server.pass(200);
  ada.update({ page: 7 });
  await server.pass(1_500);
  bob.setActive();
  await server.pass(200);
  cid.leave();
  await server.pass(200);
  for (const room of [ada, bob]) room.detach();
  await server.pass(1_500);
  const readers = Array.from({ length: 7 }, (_, n) => enter(server, session.url, { name: `Reader ${n}` }));
  await server.pass(200);
  for (const reader of readers.slice(0, 6)) reader.leave();
  await server.pass(200);
  const dora = enter(server, session.url, { name: 'Dora' });
  await server.pass(200);

  for (const name of ['Ada', 'Bob', 'Cid', 'Dora']) assert.deepEqual(storyOf(name, frames), storyOf(name, recorded.frames), name);
  // The fake one has no limit of frames: its messages are whole.
  const [own, real] = [formsOf(frames), formsOf(recorded.frames.filter(({ chunk }) => !chunk))];
  assert.deepEqual(Object.keys(own).sort(), Object.keys(real).sort());
  assert.deepEqual(own, real);
  for (const room of [ear, dora, readers[6]]) room.leave();
});
