// The network and the server go away, and come back.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, connection, CUT, launch, listen, newPerson, row, sees, seesNoMore, seesStatus } from './harness/browser.js';
import { startProxy } from './harness/proxy.js';
import { openSession, startServer } from './harness/server.js';

const GRACE_MS = 8_000;
const CUT_MS = 5_000;

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer({ grace: `${GRACE_MS}ms` }), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

/** Ada, beside the server, and Bob, whose network can be cut. */
async function two(t) {
  const session = await openSession(server);
  const network = await startProxy(server);
  t.after(() => network.end());
  const ada = await comeIn(await newPerson(t, browser, { expects: [CUT] }), server.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser, { expects: [CUT] }), network.origin + session.guestPath, 'Bob');
  await sees(ada, 'Bob');
  return {
    ada,
    bob,
    async cut() {
      network.cut();
      await bob.context().setOffline(true);
      await connection(bob, 'reconnecting');
      await seesStatus(ada, 'Bob', 'reconnecting');
    },
    async mend() {
      network.mend();
      await bob.context().setOffline(false);
    },
  };
}

test('a cut within the grace: seen as reconnecting, then here again, and nobody left', async (t) => {
  const { ada, bob, cut, mend } = await two(t);
  const heard = await listen(ada);
  const id = await row(ada, 'Bob').getAttribute('data-id');
  await cut();
  assert.match(await row(ada, 'Bob').locator('.detail').textContent(), /^Reconnecting · last seen /);
  await sees(bob, 'Ada'); // who was here before is still shown
  await new Promise((done) => setTimeout(done, CUT_MS));
  await mend();
  await connection(bob, 'connected');
  await seesStatus(ada, 'Bob', 'active');
  assert.equal(await row(ada, 'Bob').getAttribute('data-id'), id);
  assert.deepEqual(await heard(), []);
});

test('a cut for longer than the grace: gone, and back as the same person', async (t) => {
  const { ada, bob, cut, mend } = await two(t);
  const heard = await listen(ada);
  const id = await row(ada, 'Bob').getAttribute('data-id');
  await cut();
  await seesNoMore(ada, 'Bob');
  await mend();
  await connection(bob, 'connected');
  await seesStatus(ada, 'Bob', 'active');
  assert.equal(await row(ada, 'Bob').getAttribute('data-id'), id);
  assert.deepEqual(await heard(), ['Bob is gone.', 'Bob came in.']);
});

test('the server is killed and started again: everybody comes back as who they were', async (t) => {
  const { ada, bob } = await two(t);
  const heard = await listen(ada);
  const ids = await ada.locator('#people .person').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id));
  await server.kill();
  for (const page of [ada, bob]) await connection(page, 'reconnecting');
  await server.start();
  for (const page of [ada, bob]) await connection(page, 'connected');
  await seesStatus(ada, 'Bob', 'active');
  await seesStatus(bob, 'Ada', 'active');
  assert.deepEqual(await ada.locator('#people .person').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id)), ids);
  assert.deepEqual(await heard(), []);
});
