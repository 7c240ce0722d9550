// Until a page works: what is pressed too early is not lost, and what does not come is said.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, newPerson } from './harness/browser.js';
import { openSession, startServer } from './harness/server.js';
import { token } from './harness/token.js';

let server, browser, session;
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
  session = await openSession(server);
});
after(async () => {
  await browser.close();
  await server.end();
});

const PAGES = {
  'the first page': { path: () => '/', works: (page) => page.getByRole('button', { name: 'Open a session' }).waitFor() },
  'the room': { path: () => session.guestPath, works: (page) => page.getByLabel('Your name').waitFor() },
  'the dashboard': { path: () => '/admin', works: (page) => page.getByLabel('Service token').waitFor() },
};

/** Lets nothing of this through until what is given back is called. */
async function hold(page, pattern) {
  let release;
  const released = new Promise((done) => { release = done; });
  await page.route(pattern, async (route) => {
    await released;
    await route.continue().catch(() => {}); // of a page that is no more
  });
  return release;
}

test('a session that is opened before the script has come is opened when it has', async (t) => {
  const page = await newPerson(t, browser);
  const release = await hold(page, '**/static/index.js');
  const addresses = [];
  page.on('request', (request) => addresses.push(request.url()));
  await page.goto(server.origin, { waitUntil: 'commit' });
  await page.getByLabel('What are you reading?').fill('Emma');
  await page.getByRole('button', { name: 'Open a session' }).click();
  await page.locator('#open[aria-busy]').waitFor({ state: 'attached' });
  release();
  await page.getByRole('heading', { name: 'Emma' }).waitFor();
  assert.deepEqual(addresses.filter((address) => address.includes('?')), []);
});

test('no form is sent by the browser itself, even where no script has come at all', async (t) => {
  const page = await newPerson(t, browser, { expects: [/^Failed to load resource/, /form-action/] });
  await page.route('**/static/**/*.js', (route) => route.abort());
  await page.route('**/static/*.js', (route) => route.abort());
  const addresses = [];
  page.on('request', (request) => addresses.push(request.url()));
  await page.goto(server.origin);
  const refused = page.evaluate(() => new Promise((done) => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => done(violatedDirective));
    document.getElementById('token').value = 'a secret';
    document.querySelector('#open button').click();
  }));
  assert.equal(await refused, 'form-action');
  assert.deepEqual(addresses.filter((address) => address.includes('?')), []);
});

for (const [where, { path, works }] of Object.entries(PAGES)) {
  test(`${where} says that a module did not come, and can be loaded again`, async (t) => {
    const page = await newPerson(t, browser, { expects: [/^Failed to load resource/] });
    await page.route('**/static/lib/dom.js', (route) => route.abort());
    await page.goto(server.origin + path());
    await page.getByRole('alert').getByText('This page did not load completely.').waitFor();
    assert.equal(await page.getByText('One moment…').isVisible(), false);
    await page.unroute('**/static/lib/dom.js');
    await page.getByRole('button', { name: 'Load it again' }).click();
    await works(page);
    await page.locator('.not-loaded').waitFor({ state: 'detached' });
  });
}

test('a page whose module throws says so', async (t) => {
  const page = await newPerson(t, browser, { expects: [/broken/] });
  await page.route('**/static/room/sit.js', (route) => route.fulfill({ contentType: 'text/javascript', body: 'throw new Error("broken"); export const sitRing = 1;' }));
  await page.goto(server.origin + session.guestPath);
  await page.getByRole('alert').getByText('This page did not load completely.').waitFor();
});

test('a page that is slow says so, and no more when it works', async (t) => {
  const page = await newPerson(t, browser);
  await page.clock.install();
  const release = await hold(page, '**/static/lib/dom.js');
  await page.goto(server.origin + session.guestPath, { waitUntil: 'commit' });
  await page.getByText('One moment…').waitFor();
  await page.clock.runFor(10_000);
  await page.getByRole('alert').getByText('This page takes long to load.').waitFor();
  release();
  await page.getByLabel('Your name').waitFor();
  await page.locator('.not-loaded').waitFor({ state: 'detached' });
});

test('a question that gets no answer is given up, and may be asked again', async (t) => {
  const page = await newPerson(t, browser, { expects: [/^Failed to load resource/] });
  await page.clock.install();
  await page.route('**/v1/invites/*', () => {});
  const asked = page.waitForRequest('**/v1/invites/*');
  await page.goto(server.origin + session.guestPath);
  await asked;
  await page.clock.runFor(30_000);
  await page.getByRole('heading', { name: 'The server cannot be reached' }).waitFor();
  await page.unroute('**/v1/invites/*');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByLabel('Your name').waitFor();
});

for (const language of ['C', 'en_US.UTF-8', '']) {
  test(`the dashboard works where the browser's language is ${language || 'empty'}`, async (t) => {
    const page = await newPerson(t, browser);
    await page.addInitScript((language) => Object.defineProperty(navigator, 'language', { get: () => language }), language);
    await page.goto(`${server.origin}/admin`);
    await page.getByLabel('Service token').fill(token({ role: 'service_role' }));
    await page.getByRole('button', { name: 'Look' }).click();
    await page.locator('#dashboard').waitFor();
    await page.locator('.chart', { hasText: 'Connections and rooms' }).locator('.keys b', { hasText: /^\d/ }).first().waitFor();
    const drawn = await page.evaluate((language) => { try { new Intl.NumberFormat(language); return true; } catch { return false; } }, language);
    if (drawn) await page.locator('.chart canvas').first().waitFor();
    else await page.getByText('The charts cannot be drawn in this browser.').waitFor();
  });
}

test('a picture of a link that does not come is said, and may be asked for again', async (t) => {
  const page = await newPerson(t, browser, { expects: [/^Failed to load resource/] });
  await page.goto(server.origin);
  await page.getByRole('button', { name: 'Open a session' }).click();
  await page.route('**/lean-qr/**', (route) => route.abort());
  await page.getByRole('button', { name: 'QR code' }).click();
  await page.getByRole('status').getByText('The code could not be loaded.').waitFor();
  await page.unroute('**/lean-qr/**');
  await page.getByRole('button', { name: 'QR code' }).click();
  await page.locator('.code svg').waitFor();
});
