// The room, the library and the life of a page, in Chromium, Firefox and WebKit as people have them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { until } from './harness/browser.js';
import { later } from './harness/later.js';
import { startProxy } from './harness/proxy.js';
import { openSession, startServer } from './harness/server.js';
import { BROWSERS, launch, missing } from './harness/three/launch.js';
import { crowd, witness } from './harness/three/witness.js';

const GONE_MS = 12_000; // more than dead-after and the grace of the hasty server together

let server, hasty;
before(async () => {
  [server, hasty] = await Promise.all([startServer({ grace: '10m' }), startServer()]);
});
after(() => Promise.all([server.end(), hasty.end()]));

const inRoom = (tab) => tab.until('the room is shown', () => !document.querySelector('#room').hidden);
const isConnected = (tab) => tab.until('it is connected', () => document.querySelector('#connection')?.dataset.status === 'connected');

/** Comes in as Bob by the room's page. */
async function comeIn(tab, address) {
  await tab.goto(address);
  await giveName(tab);
}

async function giveName(tab) {
  await tab.until('the door', () => !document.querySelector('#ask').hidden);
  await tab.run(() => { document.querySelector('#name').value = ''; }); // the one that was given before
  await tab.type('#name', 'Bob');
  await tab.press('#ask button');
  await inRoom(tab);
}

/** Comes in as Bob with the library, in a page that has no room; `waits` counts how often it waited to try again. */
async function comeInBare(tab, origin, path, options = {}) {
  await tab.goto(origin);
  await tab.run(async (path, options) => {
    const { join } = await import('/lastseen.js');
    window.waits = 0;
    window.room = join(location.origin + path, { name: 'Bob', random: () => { window.waits++; return 1; }, ...options });
  }, path, options);
  await tab.until('the library is connected', () => window.room.status === 'connected');
}

/**
 * Waits until Ada has heard of all that was, and holds that Bob neither left nor came anew. Whether Bob was seen as
 * reconnecting in between, is left open: a page may be back before the next diff.
 */
async function neverLeft(t, ada, address, id) {
  await crowd(t, address, 1);
  await ada.sees('Reader 0 comes');
  assert.equal(ada.of('Bob').id, id);
  assert.deepEqual(ada.all().filter((each) => !/ (reconnecting|active)$/.test(each)), ['Bob comes', 'Reader 0 comes']);
}

for (const name of BROWSERS) {
  describe(name, { skip: missing(name) }, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.end());

    /** A tab that is closed with the test, unless that did so itself. */
    async function open(t) {
      const tab = await browser.openTab();
      later(t, () => tab.close().catch(() => {}));
      return tab;
    }

    /** A new room that Ada is in, and a tab. */
    async function room(t, where = server) {
      const session = await openSession(where);
      const ada = await witness(t, where.origin + session.hostPath);
      return { session, ada, tab: await open(t), address: where.origin + session.guestPath };
    }

    test('the room: open a session, come in, see who is here, leave', async (t) => {
      t.diagnostic(browser.version);
      const tab = await open(t);
      await tab.goto(server.origin);
      await tab.type('#title', 'Jane Eyre');
      await tab.press('#open button');
      await tab.press('#enter');
      await giveName(tab);
      const link = await tab.run(() => document.querySelector('#invite-link input').value);
      const ada = await witness(t, link);
      assert.equal(ada.room.session.title, 'Jane Eyre');
      assert.equal(ada.of('Bob').role, 'host');
      await tab.until('Ada is listed', () => [...document.querySelectorAll('#people .person')].some((row) => row.querySelector('bdi').textContent === 'Ada' && row.dataset.status === 'active'));
      await tab.press('#leave');
      assert.equal(await ada.sees('Bob left', 'Bob reconnecting'), 'Bob left');
    });

    test('the library: states, in both directions', async (t) => {
      const { session, ada, tab } = await room(t);
      await comeInBare(tab, server.origin, session.guestPath);
      await ada.comes('Bob');
      await tab.run(() => window.room.update({ page: 7 }));
      ada.room.update({ page: 3 });
      await tab.until('the state of Ada', () => [...window.room.participants.values()].some(({ name, state }) => name === 'Ada' && state?.page === 3));
      await until('the state of Bob', () => ada.of('Bob').state?.page === 7);
      await tab.run(() => window.room.leave());
      assert.equal(await ada.sees('Bob left', 'Bob reconnecting'), 'Bob left');
    });

    test('what is being read stays where it is while people above it leave', async (t) => {
      const { ada, tab, address } = await room(t);
      const others = await crowd(t, address, 60);
      await comeIn(tab, address);
      await ada.comes('Bob');
      await tab.until('all are listed', () => document.querySelectorAll('#people .person').length === 62);
      const before = await tab.run(() => {
        const row = document.querySelectorAll('#people .person')[45];
        window.read = row;
        scrollTo({ top: row.offsetTop - 300, behavior: 'instant' });
        return row.getBoundingClientRect().top;
      });
      assert.ok(await tab.run(() => scrollY > 500), 'it is far below');
      for (const n of [1, 2, 3, 5, 8, 13, 21]) others[n].leave();
      await tab.until('they are gone', () => document.querySelectorAll('#people .person').length === 55);
      const moved = (await tab.run(() => window.read.getBoundingClientRect().top)) - before;
      assert.ok(Math.abs(moved) <= 2, `moved by ${moved} px`);
    });

    test('a reload: the same person, without a leave', async (t) => {
      const { ada, tab, address } = await room(t);
      await comeIn(tab, address);
      const id = await ada.comes('Bob');
      await tab.reload();
      await inRoom(tab);
      await isConnected(tab);
      await neverLeft(t, ada, address, id);
    });

    test('another page and Back: seen as reconnecting at once, here again at once, without a leave', async (t) => {
      const { session, ada, tab } = await room(t);
      await comeInBare(tab, server.origin, session.guestPath);
      const id = await ada.comes('Bob');
      await tab.goto(`${server.origin}/admin`);
      await ada.sees('Bob reconnecting');
      await tab.back('/');
      // A page that was kept goes on. One that was not is loaded anew, and has not joined.
      const kept = await tab.run(() => Boolean(window.room));
      t.diagnostic(kept ? 'the page was kept' : 'the page was not kept');
      if (kept) {
        await tab.until('the library is connected', () => window.room.status === 'connected');
        assert.equal(await tab.run(() => window.waits), 0, 'waited before it tried again');
      } else {
        await comeInBare(tab, server.origin, session.guestPath);
      }
      await ada.sees('Bob active');
      assert.equal(ada.of('Bob').id, id);
      assert.deepEqual(ada.all(), ['Bob comes', 'Bob reconnecting', 'Bob active']);
    });

    test('another page and Back, in the room', async (t) => {
      const { session, ada, tab, address } = await room(t);
      await comeIn(tab, address);
      const id = await ada.comes('Bob');
      await tab.goto(server.origin);
      await ada.sees('Bob reconnecting');
      await tab.back(session.guestPath);
      await inRoom(tab);
      await isConnected(tab);
      await ada.sees('Bob active');
      assert.equal(ada.of('Bob').id, id);
      assert.deepEqual(ada.all(), ['Bob comes', 'Bob reconnecting', 'Bob active']);
    });

    test('hidden for longer than a lost connection is waited for: still here', async (t) => {
      const { ada, tab, address } = await room(t, hasty);
      await comeIn(tab, address);
      await ada.comes('Bob');
      await tab.run(() => {
        window.seen = [];
        document.addEventListener('visibilitychange', () => window.seen.push(document.visibilityState));
      });
      await tab.hide();
      const since = Date.now();
      await until('the time is over', () => Date.now() > since + GONE_MS);
      assert.ok(ada.of('Bob'), 'still here');
      if (tab.staysHidden) {
        assert.equal(await tab.run(() => document.visibilityState), 'hidden');
      } else {
        await tab.show();
        await tab.until('it is shown', () => document.visibilityState === 'visible');
        assert.deepEqual(await tab.run(() => window.seen), ['hidden', 'visible']);
      }
      await isConnected(tab);
      assert.deepEqual(ada.all().filter((each) => !/ (idle|active)$/.test(each)), ['Bob comes']);
    });

    test('the network is cut and mended: the same person, without a leave', async (t) => {
      const { session, ada, tab } = await room(t);
      const network = await startProxy(server);
      later(t, () => network.end());
      await comeIn(tab, network.origin + session.guestPath);
      const id = await ada.comes('Bob');
      network.cut();
      await ada.sees('Bob reconnecting');
      await tab.until('the page says so', () => document.querySelector('#connection').dataset.status === 'reconnecting');
      network.mend();
      await isConnected(tab);
      await ada.sees('Bob active');
      assert.equal(ada.of('Bob').id, id);
      assert.deepEqual(ada.all(), ['Bob comes', 'Bob reconnecting', 'Bob active']);
    });

    test('the tab is closed: reconnecting, and gone after the grace', async (t) => {
      const { ada, tab, address } = await room(t, hasty);
      await comeIn(tab, address);
      await ada.comes('Bob');
      await tab.close();
      await ada.sees('Bob reconnecting');
      await ada.sees('Bob timeout');
      assert.deepEqual(ada.all(), ['Bob comes', 'Bob reconnecting', 'Bob timeout']);
    });

    test('the tab is closed where that is leaving: a leave, which a reload and another page are not', async (t) => {
      const { session, ada } = await room(t, hasty);
      const enter = (tab) => comeInBare(tab, hasty.origin, session.guestPath, { leaveOnClose: true });
      // A frame that is sent in the very end may go down with the tab, as any may: then the grace runs.
      for (let round = 1; round <= 20; round++) {
        const tab = await open(t);
        await enter(tab);
        await ada.sees('Bob comes');
        for (const away of [() => tab.reload(), () => tab.goto(`${hasty.origin}/admin`)]) {
          await away();
          assert.equal(await ada.sees('Bob reconnecting', 'Bob left'), 'Bob reconnecting');
          await enter(tab);
          await ada.sees('Bob active');
        }
        await tab.close();
        if ((await ada.sees('Bob left', 'Bob timeout')) === 'Bob left') return;
        t.diagnostic(`the leave went down with the tab in round ${round}`);
      }
      assert.fail('no leave was ever told');
    });

    test('a private window: somebody new, who stays one and the same through a reload', async (t) => {
      const secret = await launch(name, { secret: true });
      later(t, () => secret.end());
      const { ada, address } = await room(t);
      const tab = await secret.openTab();
      await comeIn(tab, address);
      const id = await ada.comes('Bob');
      await tab.reload();
      await inRoom(tab);
      await isConnected(tab);
      await neverLeft(t, ada, address, id);
    });

    // The last one: nothing is left of the browser.
    test('the browser is killed: reconnecting, and gone after the grace', async (t) => {
      const { ada, tab, address } = await room(t, hasty);
      await comeIn(tab, address);
      await ada.comes('Bob');
      await browser.kill();
      await ada.sees('Bob reconnecting');
      await ada.sees('Bob timeout');
      assert.deepEqual(ada.all(), ['Bob comes', 'Bob reconnecting', 'Bob timeout']);
    });
  });
}
