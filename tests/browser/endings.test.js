// Each way in which a visit ends, or does not begin: its own words, and a way on.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, launch, newPerson, pressTwice, REFUSED, row, sees, seesNoMore, until } from './harness/browser.js';
import { later } from './harness/later.js';
import { ask, openSession, startServer } from './harness/server.js';
import { token } from './harness/token.js';

let server, browser;
const service = token({ role: 'service_role' });
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

/** The page says how it ended, its heading has the focus, and there is something to press. */
async function ended(page, title) {
  const heading = page.getByRole('heading', { name: title });
  await heading.waitFor();
  assert.equal(await heading.evaluate((it) => it === document.activeElement), true, 'the focus');
  await page.getByRole('link', { name: 'Open a session of your own' }).waitFor();
  assert.equal(await page.locator('#connection').isVisible(), false);
  assert.equal(await page.locator('#people .person').count(), 0);
}

test('a link that is unknown, and one that is no longer good', async (t) => {
  const page = await newPerson(t, browser, { expects: [REFUSED] });
  await page.goto(`${server.origin}/join/lsi_nothing`);
  await ended(page, 'This link leads nowhere');

  const session = await openSession(server);
  await ask(server, 'DELETE', `/v1/reading-sessions/${session.id}/invites/${session.invite.id}`, { token: service });
  await page.goto(server.origin + session.guestPath);
  await ended(page, 'This link is no longer good');
});

test('a link to a session that nobody was seen in', async (t) => {
  const short = await startServer({ 'idle-timeout': '4s', 'flush-interval': '200ms', 'ping-interval': '500ms', 'beat-interval': '500ms', 'dead-after': '2s', grace: '500ms', 'expiring-notice': '1s' });
  later(t, () => short.end());
  const session = await openSession(short);
  const page = await newPerson(t, browser, { expects: [REFUSED] });
  const dead = () => ask(short, 'GET', session.guestPath.replace('/join/', '/v1/invites/')).then(() => false, () => true);
  await until('the link is dead', dead);
  await page.goto(short.origin + session.guestPath);
  await ended(page, 'This link is no longer good');
});

test('a full room says so, and lets in whoever tries again when there is a place', async (t) => {
  const session = await openSession(server, { max_participants: 1 });
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const late = await newPerson(t, browser);
  await late.goto(server.origin + session.guestPath);
  await late.getByLabel('Your name').fill('Late');
  await late.getByRole('button', { name: 'Join' }).click();
  await ended(late, 'The room is full');
  await ada.getByRole('button', { name: 'Leave' }).click();
  await late.getByRole('button', { name: 'Try again' }).click();
  await late.getByRole('button', { name: 'Join' }).click();
  await sees(late, 'Late');
});

test('closed by the host: everyone is told who ended it, and so is whoever comes later', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser, { expects: [REFUSED] }), server.origin + session.guestPath, 'Bob');
  await sees(ada, 'Bob');
  await pressTwice(ada.locator('#close'));
  for (const page of [ada, bob]) await ended(page, 'The session was closed');
  await bob.reload();
  await ended(bob, 'This link is no longer good');
});

test('closed by whoever runs the server', async (t) => {
  const session = await openSession(server);
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  await ask(server, 'POST', `/v1/reading-sessions/${session.id}/close`, { token: service });
  await ended(bob, 'The session was closed');
  await bob.getByText('by whoever runs this server').waitFor();
});

test('removed by the host: told so, and seen no more', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  await sees(ada, 'Bob');
  await ada.getByRole('button', { name: 'Remove people…' }).click();
  await pressTwice(row(ada, 'Bob').getByRole('button'));
  await ended(bob, 'You were removed');
  await seesNoMore(ada, 'Bob');
  assert.equal(await row(ada, 'Ada').getByRole('button').count(), 0, 'nobody removes themselves');
});
