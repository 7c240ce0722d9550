// The network and the server go away, and come back.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, connection, CUT, launch, listen, newPerson, row, sees, seesNoMore, seesStatus } from './harness/browser.js';
import { later } from './harness/later.js';
import { startProxy } from './harness/proxy.js';
import { openSession, startServer } from './harness/server.js';

const LONG = { grace: '10m' }; // everybody is back by then
const SHORT = { grace: '1s' }; // nobody is

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(LONG), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

/** Ada, beside the server, and Bob, whose network can be cut. */
async function two(t, where = server) {
  const session = await openSession(where);
  const network = await startProxy(where);
  later(t, () => network.end());
  const ada = await comeIn(await newPerson(t, browser, { expects: [CUT] }), where.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser, { expects: [CUT] }), network.origin + session.guestPath, 'Bob');
  await sees(ada, 'Bob');
  return {
    ada,
    bob,
    cid: async () => comeIn(await newPerson(t, browser), where.origin + session.guestPath, 'Cid'),
    async cut() {
      network.cut();
      await bob.context().setOffline(true);
      await connection(bob, 'reconnecting');
    },
    async mend() {
      network.mend();
      await bob.context().setOffline(false);
    },
  };
}

test('a cut within the grace: seen as reconnecting, then here again, and nobody left', async (t) => {
  const { ada, bob, cid, cut, mend } = await two(t);
  const notices = await listen(ada);
  const id = await row(ada, 'Bob').getAttribute('data-id');
  await cut();
  await seesStatus(ada, 'Bob', 'reconnecting');
  await sees(bob, 'Ada'); // who was here before is still shown
  await row(ada, 'Bob').locator('.detail', { hasText: /^Reconnecting · last seen ([5-9]|\d\d) s ago/ }).waitFor();
  await mend();
  await connection(bob, 'connected');
  await seesStatus(ada, 'Bob', 'active');
  assert.equal(await row(ada, 'Bob').getAttribute('data-id'), id);
  await cid();
  await notices.until('Cid came in.');
  assert.deepEqual(await notices.all(), ['Cid came in.']);
});

test('a cut for longer than the grace: gone, and back as the same person', async (t) => {
  const short = await startServer(SHORT);
  later(t, () => short.end());
  const { ada, bob, cut, mend } = await two(t, short);
  const notices = await listen(ada);
  const id = await row(ada, 'Bob').getAttribute('data-id');
  await cut();
  await notices.until('Bob is gone.');
  await seesNoMore(ada, 'Bob');
  await mend();
  await connection(bob, 'connected');
  await seesStatus(ada, 'Bob', 'active');
  assert.equal(await row(ada, 'Bob').getAttribute('data-id'), id);
  await notices.until('Bob came in.');
  assert.deepEqual(await notices.all(), ['Bob is gone.', 'Bob came in.']);
});

test('the server is killed and started again: everybody comes back as who they were', async (t) => {
  const { ada, bob, cid } = await two(t);
  const notices = await listen(ada);
  const ids = await ada.locator('#people .person').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id));
  await server.kill();
  for (const page of [ada, bob]) await connection(page, 'reconnecting');
  await server.start();
  for (const page of [ada, bob]) await connection(page, 'connected');
  await seesStatus(ada, 'Bob', 'active');
  await seesStatus(bob, 'Ada', 'active');
  assert.deepEqual(await ada.locator('#people .person').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id)), ids);
  await cid();
  await notices.until('Cid came in.');
  assert.deepEqual(await notices.all(), ['Cid came in.']);
});
