// The dashboard: who may look, figures that move, and what an operator does from there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { comeIn, crowd, launch, newPerson, pressTwice, REFUSED, sees, seesStatus, tabTo } from './harness/browser.js';
import { later } from './harness/later.js';
import { ask, openSession, startServer } from './harness/server.js';
import { token } from './harness/token.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SERVICE = token({ role: 'service_role' });
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer({ 'max-sessions-per-minute': 1000 }), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

async function signIn(t, { where = server, ...options } = {}) {
  const page = await newPerson(t, browser, options);
  await page.goto(`${where.origin}/admin`);
  await page.getByLabel('Service token').fill(SERVICE);
  await page.getByRole('button', { name: 'Look' }).click();
  await page.locator('#dashboard').waitFor();
  return page;
}

/** The tile of this name shows this value. */
const tile = (page, name, value) =>
  page.locator('.tiles > div').filter({ has: page.locator('dt', { hasText: new RegExp(`^${name}$`) }) }).locator('.value', { hasText: value }).waitFor();

const line = (page, title) => page.locator('#sessions tbody tr:not(.inside)').filter({ hasText: title });

test('whoever is not the service is told so, and stays at the door', async (t) => {
  const page = await newPerson(t, browser);
  await page.goto(`${server.origin}/admin`);
  const wrong = [
    ['nonsense', /The token is not valid/],
    ['with a space', /This is not a token/],
    [token({ sub: '0193a1b2-0000-7000-8000-000000000001' }), /Only the service role/],
    [token({ role: 'service_role', exp: 1000 }), /expired/],
  ];
  for (const [bad, said] of wrong) {
    await page.getByLabel('Service token').fill(bad);
    await page.getByRole('button', { name: 'Look' }).click();
    await page.getByRole('alert').filter({ hasText: said }).waitFor();
    assert.equal(await page.locator('#dashboard').isVisible(), false);
  }
});

test('the token is kept where that was ticked, in the tab alone, and never in an address', async (t) => {
  const page = await newPerson(t, browser);
  const addresses = [];
  page.on('request', (request) => addresses.push(request.url()));
  page.on('websocket', (socket) => addresses.push(socket.url()));
  const look = async () => {
    await page.getByLabel('Service token').fill(SERVICE);
    await page.getByRole('button', { name: 'Look' }).click();
    await page.locator('#dashboard').waitFor();
  };
  await page.goto(`${server.origin}/admin`);
  await look();
  await page.reload();
  await page.getByLabel('Keep it in this tab').check();
  await look();
  await page.reload();
  await page.locator('#dashboard').waitFor();
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.reload();
  await page.getByLabel('Service token').waitFor();
  assert.ok(addresses.some((address) => address.endsWith('/v1/admin/ws')));
  for (const address of addresses) assert.ok(!address.includes(SERVICE), address);
});

test('figures move as people come and go, and charts are drawn', async (t) => {
  const page = await signIn(t);
  await tile(page, 'People', /^0$/);
  const session = await openSession(server, { title: 'Emma' });
  const others = await newPerson(t, browser);
  await crowd(others, server.origin, session.guestPath, ['Ada', 'Bob', 'Cid']);
  await tile(page, 'People', /^3$/);
  await tile(page, 'Rooms', /^1$/);
  await page.locator('.chart', { hasText: 'People' }).locator('.keys b', { hasText: /^3$/ }).first().waitFor();
  assert.equal(await page.locator('.chart canvas').count(), 8);
  await others.evaluate(() => window.crowd[0].leave());
  await tile(page, 'People', /^2$/);
  await ask(server, 'POST', '/v1/admin/sweep', { token: SERVICE });
  await page.getByText('The last sweep, at').waitFor();
  await page.locator('.systems > div', { hasText: 'Reading sessions' }).getByText('open', { exact: true }).waitFor();
  assert.equal(await page.locator('#hours li').count(), 24);
});

test('who looks after it happened sees what was, and why people were refused', async (t) => {
  const own = await startServer();
  later(t, () => own.end());
  const others = await newPerson(t, browser);
  const began = Date.now();
  const session = await openSession(own, { title: 'Emma' });
  await crowd(others, own.origin, session.guestPath, ['Ada', 'Bob']);
  for (const path of ['/nowhere', '/v1/nothing', '/join/']) await fetch(own.origin + path);
  const page = await signIn(t, { where: own });
  await page.locator('#reasons > div', { hasText: 'not found' }).getByText('3', { exact: true }).waitFor();
  // The first that was kept is of the server's start.
  const since = await page.evaluate(() => document.getElementById('since').textContent);
  assert.match(since, /^since \d\d:\d\d$/);
  const first = new Promise((done) => page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => done(JSON.parse(payload)))));
  await page.reload();
  await page.getByLabel('Service token').fill(SERVICE);
  await page.getByRole('button', { name: 'Look' }).click();
  const { type, frames } = await first;
  assert.equal(type, 'history');
  assert.ok(Date.parse(frames[0].time) < began);
  assert.deepEqual([frames[0].joins, frames.at(-1).joins], [0, 2]);
});

test('an opened session that is empty says when it expires, until somebody comes', async (t) => {
  const own = await startServer({ 'expiring-notice': '1h' });
  later(t, () => own.end());
  const session = await openSession(own, { title: 'Empty' });
  const page = await signIn(t, { where: own });
  await page.getByRole('button', { name: 'Empty', exact: true }).click();
  const note = page.getByText(/^Nobody is here\. This session will expire in \d\d minutes, at \d\d:\d\d\.$/);
  await note.waitFor();
  await comeIn(await newPerson(t, browser), own.origin + session.guestPath, 'Ada');
  await page.getByRole('list', { name: /^People in/ }).getByText('Ada').waitFor();
  await note.waitFor({ state: 'detached' });
});

test('the people of an opened session come, change and go before one\'s eyes', async (t) => {
  const session = await openSession(server, { title: 'Live' });
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const page = await signIn(t);
  await page.getByRole('button', { name: 'Live', exact: true }).click();
  const people = page.getByRole('list', { name: /^People in/ });
  const of = (name) => people.getByRole('listitem').filter({ hasText: name });
  await of('Ada').getByText(/^host · active · since/).waitFor();
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  await of('Bob').getByText(/^guest · active/).waitFor();
  await line(page, 'Live').getByText(/^2 of/).waitFor();
  // An operator who looks is no company.
  await seesStatus(ada, 'Bob', 'active');
  assert.equal(await ada.locator('#people .person').count(), 2);
  const kept = await of('Ada').elementHandle();
  await bob.getByRole('button', { name: 'Leave' }).click();
  await of('Bob').waitFor({ state: 'detached' });
  assert.equal(await kept.evaluate((it) => it.isConnected), true);
  await ask(server, 'POST', `/v1/reading-sessions/${session.id}/close`, { token: SERVICE });
  await line(page, 'Live').getByText(/^closed/).waitFor();
  assert.equal(await people.isVisible(), false);
});

test('what the table says is renewed while it is looked at', async (t) => {
  const session = await openSession(server, { title: 'Renewed' });
  const page = await signIn(t);
  await line(page, 'Renewed').getByText(/^0 of/).waitFor();
  await crowd(await newPerson(t, browser), server.origin, session.guestPath, ['Ada', 'Bob', 'Cid']);
  await line(page, 'Renewed').getByText(/^3 of/).waitFor();
});

test('the keyboard alone: look, sort, open, remove, close, sign out', async (t) => {
  const session = await openSession(server, { title: 'By keyboard' });
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Cid');
  const page = await newPerson(t, browser);
  const focused = (name) => page.waitForFunction((wanted) => (document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).includes(wanted), name);
  await page.goto(`${server.origin}/admin`);
  await page.waitForFunction(() => document.activeElement.id === 'token');
  await page.keyboard.type(SERVICE);
  await page.keyboard.press('Enter');
  await focused('Now');
  await tabTo(page, 'Search sessions');
  await page.keyboard.type('By keyboard');
  await line(page, 'By keyboard').waitFor();
  await tabTo(page, 'Last seen');
  await page.keyboard.press('Enter');
  await page.locator('th[aria-sort="ascending"]', { hasText: 'Last seen' }).waitFor();
  await tabTo(page, 'By keyboard');
  await page.keyboard.press('Enter');
  await page.getByRole('list', { name: /^People in/ }).getByText('Cid').waitFor();
  await tabTo(page, 'Remove \u2068Bob');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await bob.getByRole('heading', { name: 'You were removed' }).waitFor();
  // Who works through the list goes on with the next person, and then with the session.
  await focused('Cid');
  await page.keyboard.press('Shift+Tab');
  await focused('Close');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await line(page, 'By keyboard').getByText('(admin)').waitFor();
  await focused('By keyboard');
  await tabTo(page, 'How many days');
  await page.keyboard.press('ArrowDown');
  await page.getByText('opened in 30 days').waitFor();
  await tabTo(page, 'Sign out');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.id === 'token');
});

test('whoever signs in again has charts of one kind, and no other socket', async (t) => {
  const page = await signIn(t);
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Service token').fill(SERVICE);
  await page.getByRole('button', { name: 'Look' }).click();
  await page.locator('#dashboard').waitFor();
  await page.emulateMedia({ colorScheme: 'dark' });
  await tile(page, 'Connections', /^\d+$/);
  assert.equal(await page.locator('.chart canvas').count(), 8);
  assert.equal(sockets.length, 1);
});

test('a server that is started again is found again', async (t) => {
  const own = await startServer();
  later(t, () => own.end());
  const page = await signIn(t, { where: own, expects: [/./] });
  await own.stop();
  await page.locator('#connection[data-status="reconnecting"]').waitFor();
  await own.start();
  await page.locator('#connection[data-status="connected"]').waitFor();
});

test('sessions are searched, sorted and opened; a person is removed, a session closed', async (t) => {
  const title = '<img src=x onerror="window.harmed=1">';
  const session = await openSession(server, { title });
  await openSession(server, { title: 'Another one' });
  const ada = await comeIn(await newPerson(t, browser, { expects: [REFUSED] }), server.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser, { expects: [REFUSED] }), server.origin + session.guestPath, '<b>Bob</b>');
  await sees(ada, '<b>Bob</b>');
  const page = await signIn(t);
  await line(page, title).getByText('2 of').waitFor();

  await page.getByLabel('Search sessions').fill('onerror');
  await line(page, 'Another one').waitFor({ state: 'detached' });
  await page.getByLabel('Search sessions').fill('');
  // In one turn: a count may be renewed a moment later, which sorts nothing anew.
  const counts = await page.getByRole('button', { name: 'People' }).evaluate((button) => {
    button.click();
    return [...document.querySelectorAll('#sessions tbody tr:not(.inside) td:nth-child(2)')].map(({ textContent }) => parseInt(textContent, 10));
  });
  await page.locator('th[aria-sort="descending"]', { hasText: 'People' }).waitFor();
  assert.deepEqual(counts, counts.toSorted((a, b) => b - a));

  await page.getByRole('button', { name: title, exact: true }).click();
  const people = page.getByRole('list', { name: /^People in/ });
  await people.getByText('<b>Bob</b>').waitFor();
  const remove = people.getByRole('listitem').filter({ hasText: 'Bob' }).getByRole('button');
  await pressTwice(remove);
  await page.getByRole('status').getByText(/<b>Bob<\/b>.? was removed\.$/).waitFor();
  await bob.getByRole('heading', { name: 'You were removed' }).waitFor();
  await people.getByText('<b>Bob</b>').waitFor({ state: 'detached' });

  const close = line(page, title).getByRole('button', { name: /^Close/ });
  await pressTwice(close);
  await ada.getByRole('heading', { name: 'The session was closed' }).waitFor();
  await line(page, title).getByText('(admin)').waitFor();
  assert.equal(await page.evaluate(() => window.harmed), undefined);
});

test('more sessions than a page are loaded on demand', async (t) => {
  for (let n = 0; n < 52; n++) await ask(server, 'POST', '/v1/reading-sessions', { token: SERVICE, body: { title: `Number ${n}` } });
  const page = await signIn(t);
  await page.getByText('50 of 50 loaded; there are more').waitFor();
  await page.getByRole('button', { name: 'Load more' }).click();
  await line(page, 'Number 0').first().waitFor();
});

for (const [name, options] of [['on a desk', {}], ['on a phone', PHONE]]) {
  test(`axe finds nothing serious ${name}, in both themes, and nothing is too wide`, async (t) => {
    const session = await openSession(server, { title: 'A title with an unbreakablewordthatislongerthananyphoneiswide' });
    await crowd(await newPerson(t, browser), server.origin, session.guestPath, ['Ada', 'x'.repeat(80)]);
    const page = await newPerson(t, browser, options);
    await page.goto(`${server.origin}/admin`);
    const check = async (where) => {
      await page.evaluate(AXE);
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }));
        const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
        assert.deepEqual(serious.map(({ id, nodes }) => [where, colorScheme, id, nodes[0].html, nodes[0].failureSummary]), []);
      }
      const { wide, width } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, width: document.documentElement.clientWidth }));
      assert.ok(wide <= width, `${where}: ${wide} px in a window of ${width}`);
    };
    await check('the door');
    await page.getByLabel('Service token').fill(SERVICE);
    await page.keyboard.press('Enter');
    await line(page, 'A title').first().waitFor();
    await page.getByRole('button', { name: /^A title/ }).first().press('Enter');
    await page.getByRole('list', { name: /^People in/ }).waitFor();
    await check('the dashboard');
  });
}
