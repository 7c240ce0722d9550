// The dashboard: who may look, figures that move, and what an operator does from there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { comeIn, crowd, launch, newPerson, REFUSED, sees } from './harness/browser.js';
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

test('a server that is started again is found again', async (t) => {
  const own = await startServer();
  t.after(() => own.end());
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
  await page.getByRole('button', { name: 'People' }).click();
  await page.locator('th[aria-sort="descending"]', { hasText: 'People' }).waitFor();
  const counts = (await page.locator('#sessions tbody tr:not(.inside) td:nth-child(2)').allTextContents()).map((text) => parseInt(text, 10));
  assert.deepEqual(counts, counts.toSorted((a, b) => b - a));

  await page.getByRole('button', { name: title, exact: true }).click();
  const people = page.getByRole('list', { name: /^People in/ });
  await people.getByText('<b>Bob</b>').waitFor();
  const remove = people.getByRole('listitem').filter({ hasText: 'Bob' }).getByRole('button');
  await remove.click();
  assert.equal(await remove.textContent(), 'Really?');
  await remove.click();
  await bob.getByRole('heading', { name: 'You were removed' }).waitFor();
  await people.getByText('<b>Bob</b>').waitFor({ state: 'detached' });

  const close = line(page, title).getByRole('button', { name: /^Close/ });
  await close.click();
  await close.click();
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
