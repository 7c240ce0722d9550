// The life of a page in Chromium as people have it: Playwright switches its back/forward cache off, and so does a listener
// for `unload`, even one of a test.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, connection, inRoom, launch, newPerson, REFUSED, row, sees, seesStatus } from './harness/browser.js';
import { ask, openSession, startServer } from './harness/server.js';

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer({ grace: '10m' }), launch({ ignoreDefaultArgs: ['--disable-back-forward-cache'] })]);
});
after(async () => {
  await browser.close();
  await server.end();
});

/** Ada watches Bob: every status of his that she is sent, in order, and whether he came or went. */
async function watched(t) {
  const session = await openSession(server);
  const ada = await newPerson(t, browser);
  await ada.goto(server.origin);
  await ada.evaluate(async (url) => {
    const { join } = await import('/lastseen.js');
    window.seen = [];
    const note = (what) => window.seen.at(-1) !== what && window.seen.push(what);
    const room = join(url, { name: 'Ada', storage: { getItem: () => null, setItem() {}, removeItem() {} } });
    const isBob = ({ name }) => name === 'Bob';
    room.on('join', (person) => isBob(person) && note('came'));
    room.on('update', (person) => isBob(person) && note(person.status));
    room.on('leave', (person, reason) => isBob(person) && note(reason));
    await new Promise((done) => room.on('change', done));
    window.room = room;
  }, server.origin + session.hostPath);
  const bob = await newPerson(t, browser);
  await noteLife(bob);
  await comeIn(bob, server.origin + session.guestPath, 'Bob');
  const seen = () => ada.evaluate(() => window.seen);
  const untilLast = (what) => ada.waitForFunction((what) => window.seen.at(-1) === what, what);
  await ada.waitForFunction(() => [...window.room.participants.values()].some(({ name }) => name === 'Bob'));
  return { session, ada, bob, seen, untilLast };
}

/** Notes the life of a page, by its own clock, and the sockets that it opens; chance says the longest wait. */
const noteLife = (page) => page.addInitScript(() => {
  Math.random = () => 0.999;
  window.life = [];
  const note = (what) => window.life.push({ what, at: performance.now() });
  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...how) {
      super(...how);
      note('socket');
      this.addEventListener('message', ({ data }) => { if (JSON.parse(data).type === 'welcome') note('welcome'); });
    }
  };
  for (const type of ['pagehide', 'pageshow']) addEventListener(type, ({ persisted }) => note(`${type} ${persisted}`), { capture: true });
  document.addEventListener('visibilitychange', () => note(document.visibilityState));
});

test('a page that was left is reconnecting at once, and back at once on Back, without a leave and a join', async (t) => {
  const { bob, seen, untilLast } = await watched(t);
  const id = await row(bob, 'Bob').getAttribute('data-id');
  await bob.evaluate(() => window.life.splice(0));
  for (let round = 0; round < 2; round++) {
    await bob.goto(server.origin);
    await untilLast('reconnecting');
    await bob.goBack({ waitUntil: 'commit' });
    await connection(bob, 'connected');
    await untilLast('active');
    const life = await bob.evaluate(() => window.life.splice(0));
    const at = (name) => life.find(({ what }) => what === name)?.at;
    const names = life.map(({ what }) => what);
    assert.deepEqual(names.filter((what) => /^page/.test(what)), ['pagehide true', 'pageshow true'], 'it is the page that it was');
    assert.deepEqual(names.filter((what) => what === 'socket' || what === 'welcome'), ['socket', 'welcome'], 'one socket, at once the right one');
    // Chance says the longest wait, 5 s: what is opened sooner has not waited.
    assert.ok(at('socket') - at('visible') < 2_000, `opened ${at('socket') - at('visible')} ms after the page was seen again`);
  }
  assert.equal(await row(bob, 'Bob').getAttribute('data-id'), id);
  assert.deepEqual((await seen()).filter((what) => what !== 'active'), ['came', 'reconnecting', 'reconnecting']);
});

test('a link that is opened again when its tab is closed is the same guest, and in two tabs at once two guests', async (t) => {
  const { ada, bob, session, seen, untilLast } = await watched(t);
  const link = server.origin + session.guestPath;
  const context = bob.context();
  const id = await row(bob, 'Bob').getAttribute('data-id');
  const cid = await comeIn(await context.newPage(), link, 'Cid');
  await sees(bob, 'Cid');
  assert.equal(await row(bob, 'Bob').getByText('2 devices').count(), 0);
  await cid.getByRole('button', { name: 'Leave' }).click();
  await bob.close();
  await untilLast('reconnecting');

  // The name is not asked for.
  const again = await context.newPage();
  await again.goto(link);
  await inRoom(again);
  assert.equal(await row(again, 'Bob').getAttribute('data-id'), id);
  await untilLast('active');
  assert.ok(!(await seen()).some((what) => what === 'left' || what === 'timeout'));
  assert.equal(await ada.evaluate(() => window.room.occupancy), 2);
});

test('a link for one use leads back after its tab was closed', async (t) => {
  const session = await openSession(server);
  const host = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const bearer = await host.evaluate((id) => sessionStorage.getItem(`lastseen:resume:${id}`), session.id);
  const { url } = await ask(server, 'POST', `/v1/reading-sessions/${session.id}/invites`, { token: bearer, body: { max_uses: 1 } });
  const link = server.origin + new URL(url).pathname;
  const bob = await comeIn(await newPerson(t, browser), link, 'Bob');
  await sees(host, 'Bob');
  await bob.close();
  await seesStatus(host, 'Bob', 'reconnecting');
  const again = await bob.context().newPage();
  await again.goto(link);
  await inRoom(again);
  await seesStatus(host, 'Bob', 'active');

  const stranger = await newPerson(t, browser, { expects: [REFUSED] });
  await stranger.goto(link);
  await stranger.getByRole('heading', { name: 'This link is no longer good' }).waitFor();
});
