// Opening a session, handing on its link, coming in, and seeing each other.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, launch, newPerson, REFUSED, row, sees } from './harness/browser.js';
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

test('one click opens a session, the link is copied, and three people see each other', async (t) => {
  const host = await newPerson(t, browser, { permissions: ['clipboard-read', 'clipboard-write'] });
  await host.goto(server.origin);
  await host.getByRole('button', { name: 'Open a session' }).click();
  await host.getByRole('heading', { name: 'Your session is open' }).waitFor();
  await host.getByRole('button', { name: 'Copy link' }).click();
  await host.getByText('The link is copied.').waitFor();
  const link = await host.evaluate(() => navigator.clipboard.readText());
  assert.match(link, /\/join\/lsi_/);
  await host.getByRole('link', { name: 'Go in as host' }).click();
  await host.getByText('You would be the first').waitFor();
  await host.getByLabel('Your name').fill('Ada');
  await host.getByRole('button', { name: 'Join' }).click();
  await row(host, 'Ada').getByText('host', { exact: true }).waitFor();

  const [second, third] = [await newPerson(t, browser), await newPerson(t, browser)];
  const tookFor = async (page, name) => {
    await page.goto(link);
    await page.getByLabel('Your name').fill(name);
    const clicked = Date.now();
    await page.getByRole('button', { name: 'Join' }).click();
    await Promise.all([sees(page, 'Ada'), sees(host, name)]);
    return Date.now() - clicked;
  };
  t.diagnostic(`from click to seeing each other: ${await tookFor(second, 'Bob')} ms, ${await tookFor(third, 'Cid')} ms`);
  for (const page of [host, second, third]) {
    for (const name of ['Ada', 'Bob', 'Cid']) await sees(page, name);
    await page.getByRole('heading', { name: '3 people here' }).waitFor();
  }
  assert.equal(await row(second, 'Bob').getByText('you', { exact: true }).isVisible(), true);
  assert.match(await host.title(), /^\(3\) /);
});

test('the QR code holds the link, and is dark on light in both themes', async (t) => {
  const page = await newPerson(t, browser, { colorScheme: 'dark' });
  await page.goto(server.origin);
  await page.getByRole('button', { name: 'Open a session' }).click();
  await page.getByRole('button', { name: 'QR code' }).click();
  const code = page.getByRole('img', { name: 'QR code of the invite link' });
  await code.waitFor();
  assert.deepEqual(await code.locator('rect, path').evaluateAll((parts) => parts.map((part) => part.getAttribute('fill'))), ['#ffffff', '#1d1c1a']);
  // Drawn again from the link that is shown: what is painted is its code and nobody else's.
  const same = await page.evaluate(async () => {
    const { generate } = await import('/static/vendor/lean-qr/index.mjs');
    const { toSvgPath } = await import('/static/vendor/lean-qr/extras/svg.mjs');
    const link = document.querySelector('#invite-link input').value;
    return toSvgPath(generate(link)) === document.querySelector('.code path').getAttribute('d');
  });
  assert.equal(same, true);
});

test('a share sheet is offered where the browser has one', async (t) => {
  const page = await newPerson(t, browser);
  await page.addInitScript(() => { navigator.share = async (what) => { window.shared = what; }; });
  await page.goto(server.origin);
  await page.getByLabel('What are you reading?').fill('Middlemarch');
  await page.getByRole('button', { name: 'Open a session' }).click();
  await page.getByRole('button', { name: 'Share…' }).click();
  const shared = await page.evaluate(() => window.shared);
  assert.equal(shared.title, 'Middlemarch');
  assert.equal(shared.url, await page.getByRole('textbox', { name: 'Invite link' }).inputValue());
});

test('where only users open sessions, the page asks for a token, and its owner is the host', async (t) => {
  const strict = await startServer({ 'guest-hosts': 'false' });
  later(t, () => strict.end());
  const page = await newPerson(t, browser, { expects: [REFUSED] });
  await page.goto(strict.origin);
  assert.equal(await page.getByLabel('Access token').isVisible(), false);
  await page.getByRole('button', { name: 'Open a session' }).click();
  const field = page.getByLabel('Access token');
  await field.waitFor();
  await field.fill('not a token');
  await page.getByRole('button', { name: 'Open a session' }).click();
  await page.locator('#problem:not(:empty)').waitFor();
  await field.fill(token({ sub: '6f1c2d3e-0000-4000-8000-000000000001', name: 'Ada' }));
  await page.getByRole('button', { name: 'Open a session' }).click();
  await page.getByRole('link', { name: 'Go in as host' }).click();
  await row(page, 'Ada').getByText('host', { exact: true }).waitFor();
  await page.getByText('Host tools').waitFor();
});

test('a name that cannot be used is said at the door, before anything is sent', async (t) => {
  const session = await openSession(server);
  const page = await newPerson(t, browser);
  await page.goto(server.origin + session.guestPath);
  for (const name of ['   ', 'x'.repeat(81)]) {
    await page.getByLabel('Your name').fill(name);
    await page.getByRole('button', { name: 'Join' }).click();
    assert.equal(await page.getByLabel('Your name').evaluate((field) => field.validity.customError), true, name);
  }
  await comeIn(page, server.origin + session.guestPath, 'x'.repeat(80));
});
