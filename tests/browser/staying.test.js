// What is not a leave: a reload, a hidden tab. And what is one.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, connection, crowd, inRoom, launch, listen, newPerson, row, sees, seesNoMore, seesStatus } from './harness/browser.js';
import { ask, openSession, startServer } from './harness/server.js';

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
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
  const heard = await listen(ada);
  const id = await row(ada, 'Bob').getAttribute('data-id');
  await bob.reload();
  await inRoom(bob);
  await seesStatus(ada, 'Bob', 'active');
  assert.equal(await row(bob, 'Bob').getAttribute('data-id'), id);
  assert.equal(await row(ada, 'Bob').getAttribute('data-id'), id);
  // Whatever is said later would come after a leave.
  await comeIn(await newPerson(t, browser), await bob.evaluate(() => location.href), 'Cid');
  await sees(ada, 'Cid');
  assert.deepEqual(await heard(), ['Cid came in.']);
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
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const bob = await newPerson(t, browser);
  await bob.clock.install();
  await comeIn(bob, server.origin + session.guestPath, 'Bob');
  await sees(ada, 'Bob');
  const heard = await listen(ada);
  const show = (state) => bob.evaluate((visibility) => {
    Object.defineProperty(document, 'visibilityState', { value: visibility, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);
  await show('hidden');
  await bob.clock.pauseAt(Date.now() + 1000);
  const hidden = Date.now();
  // Longer than dead-after (6 s) and the grace (5 s) together: only the browser's own Pongs are heard.
  const bearer = await ada.evaluate((id) => sessionStorage.getItem(`lastseen:resume:${id}`), session.id);
  const lastSeen = async () => {
    const { items } = await ask(server, 'GET', `/v1/reading-sessions/${session.id}/participants`, { token: bearer });
    return Date.parse(items.find(({ name }) => name === 'Bob').last_seen_at);
  };
  while ((await lastSeen()) < hidden + 12_000) await new Promise((done) => setTimeout(done, 250));
  // One timer in a minute, as browsers allow; then the tab is looked at again.
  await bob.clock.fastForward(60_000);
  await connection(bob, 'connected');
  await show('visible');
  await bob.clock.resume();
  await seesStatus(ada, 'Bob', 'active');
  assert.deepEqual(await heard(), []);
});

test('leaving is a leave, said at once, and there is a way back', async (t) => {
  const { ada, bob } = await two(t);
  const heard = await listen(ada);
  await bob.getByRole('button', { name: 'Leave' }).click();
  await bob.getByRole('heading', { name: 'You have left' }).waitFor();
  await seesNoMore(ada, 'Bob');
  await bob.getByRole('button', { name: 'Come back' }).click();
  await bob.getByRole('button', { name: 'Join' }).click();
  await sees(ada, 'Bob');
  assert.deepEqual(await heard(), ['Bob is gone.', 'Bob came in.']);
});

test('a page that asked for it leaves with its tab, but not with a reload', async (t) => {
  const session = await openSession(server);
  const ada = await newPerson(t, browser);
  await crowd(ada, server.origin, session.hostPath, ['Ada']);
  await ada.evaluate(() => {
    window.seen = [];
    for (const event of ['join', 'update']) window.crowd[0].on(event, ({ status }) => window.seen.push(status));
    window.crowd[0].on('leave', (person, reason) => window.seen.push(reason));
  });
  const ended = () => ada.waitForFunction(() => ['left', 'timeout'].find((reason) => window.seen.at(-1) === reason)).then((it) => it.jsonValue());
  const seen = (what) => ada.waitForFunction((last) => window.seen.at(-1) === last, what);
  const bob = await newPerson(t, browser);
  let tab = bob;
  const enter = async () => {
    await tab.goto(server.origin);
    await tab.evaluate(async (url) => {
      const { join } = await import('/lastseen.js');
      window.room = join(url, { name: 'Bob', leaveOnClose: true });
      await new Promise((done) => window.room.on('change', done));
    }, server.origin + session.guestPath);
  };
  await enter();
  await seen('active');
  await bob.reload();
  await seen('reconnecting');
  await enter();
  await seen('active');
  assert.equal(await ada.evaluate(() => window.seen.includes('left')), false);
  // A frame that is sent in the very end may go down with the tab, as any may: then the grace runs.
  for (let round = 0; round < 5; round++) {
    await tab.close({ runBeforeUnload: true });
    const end = await ended();
    if (end === 'left') return;
    t.diagnostic(`the leave went down with the tab in round ${round}`);
    tab = await bob.context().newPage();
    await enter();
    await seen('active');
  }
  assert.fail('no leave was ever told');
});
