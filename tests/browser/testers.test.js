// What tests of a product hold the page by, and short times for tries.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, connection, CUT, launch, newPerson, row, sees, seesStatus, until } from './harness/browser.js';
import { later } from './harness/later.js';
import { startProxy } from './harness/proxy.js';
import { ask, openSession, startServer } from './harness/server.js';
import { token } from './harness/token.js';

const service = token({ role: 'service_role' });

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer({ 'idle-after': '2s', grace: '10m' }), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

test('on loopback a test has a hold on the page: who is here, a beat at once, and a line that drops', async (t) => {
  const proxy = await startProxy(server);
  later(t, () => proxy.end());
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const bob = await newPerson(t, browser, { expects: [CUT] });
  await bob.goto(proxy.origin + session.guestPath);
  assert.deepEqual(await bob.evaluate(() => [window.lastseen.room, window.lastseen.participants, window.lastseen.beat(), window.lastseen.drop()]), [null, [], false, false], 'before the door');
  await comeIn(bob, proxy.origin + session.guestPath, 'Bob');
  await sees(bob, 'Ada');
  const names = await bob.evaluate(() => window.lastseen.participants.map(({ name }) => name).sort());
  assert.deepEqual(names, ['Ada', 'Bob']);
  assert.equal(await bob.evaluate(() => window.lastseen.room.occupancy), 2);

  // Idle, until the beat says that somebody did something.
  await seesStatus(ada, 'Bob', 'idle');
  const isActive = () => row(ada, 'Bob').and(ada.locator('[data-status="active"]')).waitFor({ timeout: 1_500 }).then(() => true, () => false);
  await until('Bob is active', async () => {
    assert.equal(await bob.evaluate(() => window.lastseen.beat()), true);
    return isActive(); // on a slow machine he is idle again before one has looked
  });

  // Kept from coming back, so that the others surely see it.
  proxy.refuse();
  assert.equal(await bob.evaluate(() => window.lastseen.drop()), true);
  await connection(bob, 'reconnecting');
  await seesStatus(ada, 'Bob', 'reconnecting');
  proxy.mend();
  await connection(bob, 'connected');
  await until('Bob is back', async () => (await bob.evaluate(() => window.lastseen.participants.length)) === 2);
  await sees(ada, 'Bob');
  assert.equal(await bob.evaluate(() => window.lastseen.beat()), true, 'by the new line');
});

test('where others reach the server there is nothing to hold, unless that is asked for', async (t) => {
  const held = async (settings) => {
    const other = await startServer({ 'guest-hosts': 'true', 'public-url': 'https://presence.example', ...settings });
    later(t, () => other.end());
    const session = await openSession(other);
    const page = await comeIn(await newPerson(t, browser), other.origin + session.guestPath, 'Ada');
    return page.evaluate(() => typeof window.lastseen);
  };
  assert.equal(await held({}), 'undefined');
  assert.equal(await held({ dev: 'true' }), 'object');
});

test('for tries an hour is a minute: a session that everybody left expires within it', async (t) => {
  const demo = await startServer({ demo: 'true' }, {});
  later(t, () => demo.end());
  const session = await openSession(demo);
  const ada = await comeIn(await newPerson(t, browser), demo.origin + session.hostPath, 'Ada');
  await seesStatus(ada, 'Ada', 'idle'); // after 5 s
  await ada.getByRole('button', { name: 'Leave' }).click();
  await ada.locator('#ended').waitFor();
  const { minutes_until_expiry } = await ask(demo, 'GET', `/v1/reading-sessions/${session.id}/expiry`, { token: service });
  assert.equal(minutes_until_expiry, 1);
});
