// A dead link leads home: to the app that people come from, by a press or by itself, and never to a form that is not for them.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { accessible, fits } from './harness/access.js';
import { comeIn, launch, listen, newPerson, REFUSED, tabTo, until } from './harness/browser.js';
import { later } from './harness/later.js';
import { ask, openSession, startServer } from './harness/server.js';
import { token } from './harness/token.js';

const PHONE = { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true };
const ADA = token({ sub: '6f1c2d3e-0000-4000-8000-000000000001', name: 'Ada' });
const SERVICE = token({ role: 'service_role' });

let app, home, browser;
before(async () => {
  app = createServer((request, answer) => answer.setHeader('content-type', 'text/html').end('<!doctype html><link rel="icon" href="data:,"><h1>The app</h1>'));
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  home = `http://127.0.0.1:${app.address().port}/rooms?from=presence#list`;
  browser = await launch();
});
after(async () => {
  await browser.close();
  app.closeAllConnections();
  app.close();
});

async function serve(t, settings) {
  const server = await startServer(settings);
  later(t, () => server.end());
  return server;
}

async function revoked(server) {
  const session = await ask(server, 'POST', '/v1/reading-sessions', { token: ADA, body: {} });
  await ask(server, 'DELETE', `/v1/reading-sessions/${session.id}/invites/${session.invite.id}`, { token: SERVICE });
  return server.origin + new URL(session.invite.url).pathname;
}

const stranger = (t, options) => newPerson(t, browser, { expects: [REFUSED], ...options });

/** The page says of a revoked link what it always says. */
async function saysThatItIsDead(page) {
  await page.getByRole('heading', { name: 'This link is no longer good' }).waitFor();
  assert.equal(await page.locator('#ended-text').textContent(), 'This invitation link was revoked. Ask whoever sent it for a new one.');
}

const arrived = async (page, reason) => {
  await page.getByRole('heading', { name: 'The app' }).waitFor();
  const { searchParams, hash } = new URL(page.url());
  assert.deepEqual([searchParams.get('from'), searchParams.get('reason'), hash], ['presence', reason, '#list']);
};

test('a button leads home, with the reason, and nothing goes there by itself', async (t) => {
  const server = await serve(t, { 'home-url': home, 'guest-hosts': 'false' });
  const dead = await revoked(server);
  const page = await stranger(t);
  await page.goto(dead);
  await saysThatItIsDead(page);
  assert.equal(await page.locator('#ended-title').evaluate((it) => it === document.activeElement), true, 'the focus');
  assert.equal(await page.locator('#homeward').isVisible(), false);
  await tabTo(page, `Go to ${new URL(home).host}`);
  await page.keyboard.press('Enter');
  await arrived(page, 'invite_expired');

  await page.goto(`${server.origin}/join/lsi_nothing`);
  await page.getByRole('heading', { name: 'This link leads nowhere' }).waitFor();
  await page.getByRole('link', { name: 'Go to' }).click();
  await arrived(page, 'invite_not_found');
});

/** A page of a dead link whose time stands still, until it is made to pass. */
async function standingStill(t, options) {
  const server = await serve(t, { 'home-url': home, 'dead-link-redirect': '1m' });
  const dead = await revoked(server);
  const page = await stranger(t, options);
  await page.clock.install({ time: 0 });
  await page.clock.pauseAt(1000);
  await page.goto(server.origin);
  await page.goto(dead);
  await saysThatItIsDead(page);
  return page;
}

test('where the server says so the way there goes by itself, counted down, and the back button leads past the link', async (t) => {
  const page = await standingStill(t, { ...PHONE, colorScheme: 'dark' });
  const counts = (text) => page.getByRole('timer').getByText(text, { exact: true }).waitFor();
  await counts('60 seconds');
  assert.match(await page.locator('#homeward-said').textContent(), /^You will be taken to 127\.0\.0\.1:\d+ in 60 seconds\. The button “Stay here” stops that\.$/);
  assert.equal(await page.locator('#ended-title').evaluate((it) => it === document.activeElement), true, 'the focus');
  await page.clock.runFor(1000);
  await counts('59 seconds');
  await page.clock.runFor(58_000);
  await counts('1 second');
  await page.clock.runFor(1000);
  await arrived(page, 'invite_expired');
  await page.goBack();
  await page.getByRole('button', { name: 'Open a session' }).waitFor();
});

test('the way home is for everyone, also on a phone', async (t) => {
  const server = await serve(t, { 'home-url': home, 'dead-link-redirect': '1h' });
  const dead = await revoked(server);
  for (const options of [{}, PHONE]) {
    const page = await stranger(t, options);
    await page.goto(dead);
    await page.getByRole('button', { name: 'Stay here' }).waitFor();
    await accessible(page, 'a dead link');
    await fits(page, 'a dead link');
  }
});

test('whoever wants to stay stays', async (t) => {
  const page = await standingStill(t);
  const said = await listen(page, 'homeward-said');
  await tabTo(page, 'Stay here');
  await page.keyboard.press('Enter');
  await said.until('You stay here.');
  assert.equal(await page.locator('#homeward').isVisible(), false);
  // Whoever works with the keyboard goes on with the way home.
  assert.equal(await page.locator('#way-on').evaluate((it) => it === document.activeElement), true, 'the focus');
  await page.clock.runFor(600_000);
  await saysThatItIsDead(page);
});

test('a session that is closed on those who are in it leaves them where they are; its link, opened again, leads home', async (t) => {
  const server = await serve(t, { 'home-url': home, 'dead-link-redirect': '2s' });
  const session = await openSession(server);
  const bob = await comeIn(await stranger(t), server.origin + session.guestPath, 'Bob');
  await ask(server, 'POST', `/v1/reading-sessions/${session.id}/close`, { token: SERVICE });
  await bob.getByRole('heading', { name: 'The session was closed' }).waitFor();
  assert.equal(await bob.locator('#homeward').isVisible(), false);
  assert.match(await bob.getByRole('link', { name: 'Go to' }).getAttribute('href'), /[?&]reason=session_closed(#|$)/);
  await bob.reload();
  await arrived(bob, 'invite_expired');
});

test('without a home nobody without an account is led to a form that asks for a token', async (t) => {
  const server = await serve(t, { 'guest-hosts': 'false' });
  const dead = await revoked(server);
  const page = await stranger(t);
  await page.goto(dead);
  await saysThatItIsDead(page);
  await until('it is settled', () => page.locator('#ended').isVisible());
  assert.deepEqual(await page.locator('#ended :is(a, button):visible').allTextContents(), []);

  // One who has an account here, and has shown it in this tab, may open another.
  await page.evaluate((token) => sessionStorage.setItem('lastseen:token', token), ADA);
  await page.goto(`${server.origin}/join/lsi_nothing`);
  await page.getByRole('link', { name: 'Open a session of your own' }).waitFor();
});
