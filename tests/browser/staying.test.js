// What is not a leave: a reload, a hidden tab. And what is one.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, connection, crowd, inRoom, launch, listen, newPerson, row, sees, seesNoMore, seesStatus, until } from './harness/browser.js';
import { ask, openSession, startServer } from './harness/server.js';

let server, hasty, browser; // the hasty one has a short grace
before(async () => {
  [server, hasty, browser] = await Promise.all([startServer({ grace: '10m' }), startServer(), launch()]);
});
after(async () => {
  await browser.close();
  await Promise.all([server.end(), hasty.end()]);
});

/** Two people in a new room. */
async function two(t) {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  await sees(ada, 'Bob');
  return { session, ada, bob };
}

test('a reload keeps the person: the same one, without a leave', async (t) => {
  const { ada, bob } = await two(t);
  const notices = await listen(ada);
  const id = await row(ada, 'Bob').getAttribute('data-id');
  await bob.reload();
  await inRoom(bob);
  await seesStatus(ada, 'Bob', 'active');
  assert.equal(await row(bob, 'Bob').getAttribute('data-id'), id);
  assert.equal(await row(ada, 'Bob').getAttribute('data-id'), id);
  // Whatever is said later would come after a leave.
  await comeIn(await newPerson(t, browser), await bob.evaluate(() => location.href), 'Cid');
  await notices.until('Cid came in.');
  assert.deepEqual(await notices.all(), ['Cid came in.']);
});

test('a second tab of the same person is the same person, with two devices', async (t) => {
  const { ada, bob } = await two(t);
  // A duplicated tab takes its session storage along.
  const [copy] = await Promise.all([bob.context().waitForEvent('page'), bob.evaluate(() => { window.open(location.href, '_blank', 'opener'); })]);
  await inRoom(copy);
  await row(ada, 'Bob').getByText('2 devices').waitFor();
  await ada.getByRole('heading', { name: '2 people here' }).waitFor();
  await copy.close();
  await row(ada, 'Bob').getByText('2 devices').waitFor({ state: 'detached' });
});

test('a hidden tab whose timers stand still stays present', async (t) => {
  const session = await openSession(hasty);
  const ada = await comeIn(await newPerson(t, browser), hasty.origin + session.hostPath, 'Ada');
  const bob = await newPerson(t, browser);
  await bob.clock.install();
  await comeIn(bob, hasty.origin + session.guestPath, 'Bob');
  await sees(ada, 'Bob');
  const notices = await listen(ada);
  const show = (state) => bob.evaluate((visibility) => {
    Object.defineProperty(document, 'visibilityState', { value: visibility, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);
  await show('hidden');
  await bob.clock.pauseAt(await bob.evaluate(() => Date.now()) + 60_000); // a jump, to where it stands still
  const hidden = Date.now();
  // Longer than dead-after (6 s) and the grace (5 s) together: only the browser's own Pongs are heard.
  const bearer = await ada.evaluate((id) => sessionStorage.getItem(`lastseen:resume:${id}`), session.id);
  const lastSeen = async () => {
    const { items } = await ask(hasty, 'GET', `/v1/reading-sessions/${session.id}/participants`, { token: bearer });
    return Date.parse(items.find(({ name }) => name === 'Bob').last_seen_at);
  };
  await until('Bob is seen for long enough', async () => (await lastSeen()) >= hidden + 12_000);
  // One timer in a minute, as browsers allow; then the tab is looked at again.
  await bob.clock.fastForward(60_000);
  await connection(bob, 'connected');
  await show('visible');
  await bob.clock.resume();
  await seesStatus(ada, 'Bob', 'active');
  await comeIn(await newPerson(t, browser), hasty.origin + session.guestPath, 'Cid');
  await notices.until('Cid came in.');
  assert.deepEqual(await notices.all(), ['Cid came in.']);
});

test('leaving is a leave, said at once, and there is a way back', async (t) => {
  const { ada, bob } = await two(t);
  const notices = await listen(ada);
  await bob.getByRole('button', { name: 'Leave' }).click();
  await bob.getByRole('heading', { name: 'You have left' }).waitFor();
  await seesNoMore(ada, 'Bob');
  await notices.until('Bob is gone.');
  await bob.getByRole('button', { name: 'Come back' }).click();
  await bob.getByRole('button', { name: 'Join' }).click();
  await sees(ada, 'Bob');
  await notices.until('Bob came in.');
  assert.deepEqual(await notices.all(), ['Bob is gone.', 'Bob came in.']);
});

test('a page that asked for it leaves with its tab, but not with a reload', async (t) => {
  const session = await openSession(hasty);
  const ada = await newPerson(t, browser);
  await crowd(ada, hasty.origin, session.hostPath, ['Ada']);
  await ada.evaluate(() => {
    window.seen = [];
    for (const event of ['join', 'update']) window.crowd[0].on(event, ({ status }) => window.seen.push(status));
    window.crowd[0].on('leave', (person, reason) => window.seen.push(reason));
  });
  /** The next of these that Ada sees; what comes before it is passed over. */
  const seen = async (...wanted) => {
    const found = await ada.waitForFunction((wanted) => window.seen.find((each) => wanted.includes(each)), wanted);
    await ada.evaluate((wanted) => window.seen.splice(0, window.seen.findIndex((each) => wanted.includes(each)) + 1), wanted);
    return found.jsonValue();
  };
  const bob = await newPerson(t, browser);
  let tab = bob;
  const enter = async () => {
    await tab.goto(hasty.origin);
    await tab.evaluate(async (url) => {
      const { join } = await import('/lastseen.js');
      window.room = join(url, { name: 'Bob', leaveOnClose: true });
      await new Promise((done) => window.room.on('change', done));
    }, hasty.origin + session.guestPath);
  };
  await enter();
  await seen('active');
  await bob.reload();
  assert.equal(await seen('reconnecting', 'left'), 'reconnecting');
  await enter();
  assert.equal(await seen('active', 'left'), 'active');
  // A frame that is sent in the very end may go down with the tab, as any may: then the grace runs.
  for (let round = 0; round < 20; round++) {
    await tab.close({ runBeforeUnload: true });
    const end = await seen('left', 'timeout');
    if (end === 'left') return;
    t.diagnostic(`the leave went down with the tab in round ${round}`);
    tab = await bob.context().newPage();
    await enter();
    await seen('active');
  }
  assert.fail('no leave was ever told');
});
