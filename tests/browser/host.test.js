// What a host does, what the room does together, and what it is told before it closes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, launch, newPerson, REFUSED, row, sees } from './harness/browser.js';
import { ask, openSession, startServer } from './harness/server.js';

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
  const revoke = limited.getByRole('button');
  await revoke.click();
  await revoke.click();
  await limited.waitFor({ state: 'detached' });
  const late = await newPerson(t, browser, { expects: [REFUSED] });
  await late.goto(other);
  await late.getByRole('heading', { name: 'This link is no longer good' }).waitFor();
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
    'idle-counts': 'activity', 'idle-timeout': '30s', 'expiring-notice': '26s', 'idle-after': '2s', 'flush-interval': '500ms',
  });
  const { ada, bob } = await two(t, quiet);
  t.after(() => quiet.end()); // after the pages
  const notice = (page) => page.getByRole('alert').filter({ hasText: 'Nobody has done anything for a while' });
  await Promise.all([notice(ada).waitFor(), notice(bob).waitFor()]);
  // With the keyboard: a pointer on its way there would be activity already.
  await bob.evaluate(() => document.getElementById('still-here').click());
  await Promise.all([notice(ada).waitFor({ state: 'hidden' }), notice(bob).waitFor({ state: 'hidden' })]);
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

async function expectSent(sent, kind) {
  while (!sent.some(({ type }) => type === kind)) await new Promise((done) => setTimeout(done, 20));
}

test('a sit is a ring that counts down, by the server\'s clock, and is complete at its end', async (t) => {
  const session = await openSession(server);
  const ada = await newPerson(t, browser);
  const { say, sent } = await prompter(ada);
  await comeIn(ada, server.origin + session.hostPath, 'Ada');
  await ada.getByLabel('Sit together').selectOption('10');
  await ada.getByRole('button', { name: 'Begin' }).click();
  await expectSent(sent, 'sit');
  assert.deepEqual(sent.filter(({ type }) => type === 'sit').map(({ action, sit_length_seconds }) => [action, sit_length_seconds]), [['start', 600]]);

  const at = (ms) => new Date(Date.now() + ms).toISOString();
  say({ type: 'sit', id: 's1', started_at: at(-60_000), ends_at: at(540_000) });
  const ring = ada.getByRole('region', { name: 'Sit' });
  await ring.getByText(/^(9:00|8:5\d)$/).waitFor();
  await ring.getByText(/^8:5\d$/).waitFor();
  assert.equal(await ada.getByRole('button', { name: 'Begin' }).isVisible(), false);
  say({ type: 'sit', id: 'another', completed: true });
  say({ type: 'sit', id: 's1', completed: true });
  await ring.getByText('The sit is complete').waitFor();
  await ada.getByRole('log').getByText('The sit is complete.').waitFor();
  await ada.getByRole('button', { name: 'Begin' }).waitFor();
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
