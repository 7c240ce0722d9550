// What a host does, what the room does together, and what it is told before it closes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, inRoom, launch, listen, newPerson, pressTwice, REFUSED, row, sees, seesNoMore, until } from './harness/browser.js';
import { later } from './harness/later.js';
import { openSession, startServer } from './harness/server.js';
import { token } from './harness/token.js';

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

async function two(t, where = server) {
  const session = await openSession(where, { title: 'Middlemarch' });
  const ada = await comeIn(await newPerson(t, browser), where.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser), where.origin + session.guestPath, 'Bob');
  await Promise.all([sees(ada, 'Bob'), sees(bob, 'Ada')]);
  return { session, ada, bob };
}

test('a session gets another name, and everybody sees it', async (t) => {
  const { ada, bob } = await two(t);
  assert.equal(await bob.getByText('Host tools').isVisible(), false);
  await ada.getByLabel('Name of the session').fill('Silas Marner <b>');
  await ada.getByRole('button', { name: 'Save' }).click();
  for (const page of [ada, bob]) await page.getByRole('heading', { name: 'Silas Marner <b>' }).waitFor();
  assert.deepEqual(await ada.locator('#new-title').inputValue(), 'Silas Marner <b>');
  await ada.locator('#host').getByRole('status').getByText('The session has its new name.').waitFor();
  assert.match(await bob.title(), /Silas Marner <b>/);
});

test('links are made and revoked', async (t) => {
  const { ada } = await two(t);
  // Who came by a link for hosts hands on another one, which is made first.
  await ada.getByRole('button', { name: 'Make an invite link' }).click();
  const link = await ada.getByRole('textbox', { name: 'Invite link' }).inputValue();
  const guest = await newPerson(t, browser, { expects: [REFUSED] });
  await comeIn(guest, link, 'Cid');
  await sees(ada, 'Cid');

  await ada.getByLabel('Uses').selectOption('5');
  await ada.getByLabel('Good for').selectOption('1');
  await ada.getByRole('button', { name: 'Make a link', exact: true }).click();
  const limited = ada.locator('#links li', { hasText: '0 of 5 uses, until' });
  await limited.waitFor();
  const other = await ada.getByRole('textbox', { name: 'Invite link' }).inputValue();
  assert.notEqual(other, link);
  await pressTwice(limited.getByRole('button'));
  await limited.waitFor({ state: 'detached' });
  await ada.locator('#host').getByRole('status').getByText('The link is revoked.').waitFor();
  // What was offered to be handed on was that link.
  await ada.getByRole('button', { name: 'Make an invite link' }).waitFor();
  const late = await newPerson(t, browser, { expects: [REFUSED] });
  await late.goto(other);
  await late.getByRole('heading', { name: 'This link is no longer good' }).waitFor();
});

const tellsHost = (page, text) => page.locator('#host').getByRole('status').getByText(text).waitFor();

test('a removal may end the link by which the person came, which is then no longer handed on', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser, { expects: [REFUSED] }), server.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  await ada.getByRole('button', { name: 'Make an invite link' }).click();
  const link = await ada.getByRole('textbox', { name: 'Invite link' }).inputValue();
  const gus = await comeIn(await newPerson(t, browser, { expects: [REFUSED] }), link, 'Gus');
  await sees(ada, 'Gus');
  const tick = ada.getByRole('checkbox', { name: 'End the link they came by, too' });
  assert.equal(await tick.isVisible(), false, 'only while people are removed');
  await ada.getByRole('button', { name: 'Remove people…' }).click();
  assert.equal(await tick.isChecked(), false, 'others may have the link');
  await tick.check();
  await pressTwice(row(ada, 'Gus').getByRole('button'));
  await gus.getByRole('heading', { name: 'You were removed' }).waitFor();
  await tellsHost(ada, /Gus.* was removed, and the link they came by is no longer good\./);
  await ada.getByRole('button', { name: 'Make an invite link' }).waitFor();
  await ada.locator('#links li').nth(2).waitFor({ state: 'detached' });
  await gus.goto(link);
  await gus.getByRole('heading', { name: 'This link is no longer good' }).waitFor();

  // A guest comes back as somebody new or not at all: there is nothing to take back.
  assert.equal(await ada.locator('#removed').isVisible(), false);
  // Without the tick it is the removal alone.
  await tick.uncheck();
  await pressTwice(row(ada, 'Bob').getByRole('button'));
  await tellsHost(ada, /Bob.* was removed\.$/);
  await comeIn(bob, server.origin + session.guestPath, 'Bob again');
});

test('a user who was removed is let in again', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const mel = await newPerson(t, browser);
  await mel.addInitScript((token) => sessionStorage.setItem('lastseen:token', token), token({ sub: '6f1c2d3e-0000-4000-8000-00000000000a', name: 'Mel <b>' }));
  await mel.goto(server.origin + session.guestPath);
  await inRoom(mel);
  await sees(ada, 'Mel <b>');
  await ada.getByRole('button', { name: 'Remove people…' }).click();
  await pressTwice(row(ada, 'Mel <b>').getByRole('button'));
  const removed = () => mel.getByRole('heading', { name: 'You were removed' }).waitFor();
  await removed();
  await seesNoMore(ada, 'Mel <b>');
  await mel.reload();
  await removed();

  await ada.getByRole('list', { name: 'Removed' }).getByText('Mel <b>').waitFor();
  const again = ada.getByRole('button', { name: /^Let .*Mel <b>.* in again$/ });
  await again.focus();
  await ada.keyboard.press('Enter');
  await tellsHost(ada, /Mel <b>.* may come in again\./);
  await again.waitFor({ state: 'detached' });
  assert.equal(await ada.locator('#manage').evaluate((it) => it === document.activeElement), true, 'the focus');
  await mel.reload();
  await inRoom(mel);
  await sees(ada, 'Mel <b>');
});

test('what a host may not do is said beside the tools', async (t) => {
  const { session, ada } = await two(t);
  await ada.route(`**/v1/reading-sessions/${session.id}`, (call) => call.fulfill({ status: 403, contentType: 'application/problem+json', body: JSON.stringify({ code: 'forbidden', detail: 'Only a host of the session may do this.' }) }));
  ada.context().removeAllListeners('console'); // the refusal is on the console, too
  await ada.getByLabel('Name of the session').fill('Other');
  await ada.getByRole('button', { name: 'Save' }).click();
  await ada.getByRole('alert').filter({ hasText: 'Only a host' }).waitFor();
});

test('a press that is thought better of changes nothing', async (t) => {
  const { ada, bob } = await two(t);
  await ada.locator('#close').click();
  await ada.getByRole('button', { name: 'Really close it for everyone?' }).waitFor();
  await ada.getByLabel('Name of the session').focus();
  await ada.getByRole('button', { name: 'Close the session' }).waitFor();
  await sees(bob, 'Ada');
});

test('before a room closes for want of activity, one button keeps it open', async (t) => {
  const quiet = await startServer({
    'idle-counts': 'activity', 'idle-timeout': '600s', 'expiring-notice': '596s', 'idle-after': '2s', 'flush-interval': '500ms',
  });
  later(t, () => quiet.end());
  const { ada, bob } = await two(t, quiet);
  const notice = (page) => page.getByRole('alert').filter({ hasText: 'Nobody has done anything for a while' });
  await Promise.all([notice(ada).waitFor(), notice(bob).waitFor()]);
  // With the keyboard: a pointer on its way there would be activity already.
  await bob.evaluate(() => document.getElementById('still-here').click());
  await Promise.all([notice(ada).waitFor({ state: 'hidden' }), notice(bob).waitFor({ state: 'hidden' })]);
});

test('the notice says how many minutes are left, and counts down', async (t) => {
  // Nothing changes by itself: who is active takes the notice back.
  const calm = await startServer({ 'ping-interval': '10m', 'dead-after': '20m' });
  later(t, () => calm.end());
  const session = await openSession(calm);
  const ada = await newPerson(t, browser);
  const { say } = await prompter(ada);
  await comeIn(ada, calm.origin + session.hostPath, 'Ada');
  const expires = (seconds) => say({ type: 'expiring', expires_at: new Date(Date.now() + 1000 * seconds).toISOString(), minutes: Math.ceil(seconds / 60) });
  const notice = (text) => ada.getByRole('alert').filter({ hasText: text }).waitFor();
  expires(299);
  await notice(/^Nobody has done anything for a while\. This session will expire in 5 minutes, at \d\d:\d\d\.$/);
  const left = async () => {
    const [minutes, seconds] = (await ada.getByRole('banner').getByRole('timer').textContent()).split(':');
    return 60 * minutes + Number(seconds);
  };
  const first = await left();
  assert.ok(first <= 299 && first > 200, `${first} s are left of 299`);
  await until('it counts down', async () => (await left()) < first);
  expires(62);
  await notice('will expire in one minute,');
  expires(1);
  await notice('will expire any moment now.');
  assert.equal(await ada.locator('#expiring-left').textContent(), '');

  // Somebody comes: it is taken back.
  const bob = await comeIn(await newPerson(t, browser), calm.origin + session.guestPath, 'Bob');
  await sees(bob, 'Ada');
  await ada.locator('#expiring').waitFor({ state: 'hidden' });
});

/** Lets a test speak of sits in the server's place. */
async function prompter(page) {
  let say;
  const sent = [];
  await page.routeWebSocket(/\/ws\?/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const frame = JSON.parse(text);
      sent.push(frame);
      if (frame.type !== 'sit') server.send(text);
    });
    say = (frame) => socket.send(JSON.stringify(frame));
  });
  return { say: (frame) => say(frame), sent };
}

const expectSent = (sent, kind) => until(`a frame ${kind} is sent`, () => sent.some(({ type }) => type === kind));

test('a sit is a ring that counts down, by the server\'s clock, and is complete at its end', async (t) => {
  const session = await openSession(server);
  const ada = await newPerson(t, browser);
  const { say, sent } = await prompter(ada);
  await comeIn(ada, server.origin + session.hostPath, 'Ada');
  const notices = await listen(ada);
  const words = await listen(ada, 'sit-word');
  await ada.getByLabel('Sit together').selectOption('10');
  await ada.getByRole('button', { name: 'Begin' }).click();
  await expectSent(sent, 'sit');
  assert.deepEqual(sent.filter(({ type }) => type === 'sit').map(({ action, sit_length_seconds }) => [action, sit_length_seconds]), [['start', 600]]);

  const at = (ms) => new Date(Date.now() + ms).toISOString();
  say({ type: 'sit', id: 's1', started_at: at(-60_000), ends_at: at(540_000) });
  const ring = ada.getByRole('region', { name: 'Sit' });
  await ring.getByText(/^[5-9]:\d\d$/).waitFor();
  const left = async () => {
    const [minutes, seconds] = (await ada.locator('#sit-left').textContent()).split(':');
    return 60 * minutes + Number(seconds);
  };
  const first = await left();
  // Not the whole length. What the welcome took to arrive is not known to the page: it may be a second behind.
  assert.ok(first < 570, `${first} s are left of 540`);
  await until('it counts down', async () => (await left()) < first);
  assert.equal(await ada.getByRole('button', { name: 'Begin' }).isVisible(), false);
  say({ type: 'sit', id: 'another', completed: true });
  say({ type: 'sit', id: 's1', completed: true });
  await words.until('The sit is complete');
  await notices.until('The sit is complete.');
  await ada.getByRole('button', { name: 'Begin' }).waitFor();
});

test('notices that come at once are all announced, in order, and people together', async (t) => {
  const session = await openSession(server);
  const ada = await newPerson(t, browser);
  const { say } = await prompter(ada);
  await comeIn(ada, server.origin + session.hostPath, 'Ada');
  const notices = await listen(ada);
  const now = Date.now();
  const person = (name) => ({
    id: name, user_id: null, name, role: 'guest', status: 'active', quality: null, connections: 1,
    joined_at: new Date(now).toISOString(), last_seen_at: new Date(now).toISOString(), state: {},
  });
  for (const [n, name] of ['Bob', 'Cid', 'Dora', 'Eve'].entries()) {
    say({ type: 'diff', seq: 1_000 + n, joins: [person(name)], updates: [], leaves: [], occupancy: n + 2 });
  }
  say({ type: 'sit', id: 's1', started_at: new Date(now).toISOString(), ends_at: new Date(now + 300_000).toISOString() });
  say({ type: 'diff', seq: 1_004, joins: [], updates: [], leaves: [{ id: 'Bob', reason: 'left' }], occupancy: 4 });
  await notices.until('Bob is gone.');
  assert.deepEqual(await notices.all(), ['Bob came in.', 'Cid, Dora and Eve came in.', 'A sit of 5 minutes has begun.', 'Bob is gone.']);
  assert.equal(await ada.locator('#news').textContent(), '\u2068Bob\u2069 is gone.', 'one at a time');
});

test('a sit that is refused is said where it was asked for', async (t) => {
  const session = await openSession(server);
  const ada = await newPerson(t, browser);
  const { say, sent } = await prompter(ada);
  await comeIn(ada, server.origin + session.hostPath, 'Ada');
  await ada.getByRole('button', { name: 'Begin' }).click();
  await expectSent(sent, 'sit');
  const { ref } = sent.find(({ type }) => type === 'sit');
  say({ type: 'error', code: 'forbidden', message: 'A sit is under way already.', retry: false, ref });
  await ada.getByRole('alert').filter({ hasText: 'A sit is under way already.' }).waitFor();
});
