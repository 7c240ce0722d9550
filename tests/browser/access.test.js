// For everyone: the keyboard alone, a screen reader, both themes, a phone; and names that mean harm.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { accessible, fits } from './harness/access.js';
import { comeIn, crowd, inRoom, launch, listen, newPerson, REFUSED, row, sees, seesNoMore, tabTo, until } from './harness/browser.js';
import { openSession, startServer } from './harness/server.js';

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer({ 'idle-after': '2s', grace: '10m' }), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

/** Each page and state in turn. */
async function walk(t, options, check) {
  const page = await newPerson(t, browser, { expects: [REFUSED], ...options });
  const step = async (where) => check(page, where);
  await page.goto(server.origin);
  await step('the first page');
  await page.getByLabel('What are you reading?').fill('A title of some length, as titles are, with an unbreakablewordthatislongerthananyphoneiswide');
  await page.getByRole('button', { name: 'Open a session' }).click();
  await page.getByRole('button', { name: 'QR code' }).click();
  await page.locator('.code svg').waitFor();
  await step('the session is open');
  const link = await page.getByRole('textbox', { name: 'Invite link' }).inputValue();
  await page.getByRole('link', { name: 'Go in as host' }).click();
  await page.getByLabel('Your name').waitFor();
  await step('the door');
  await page.getByLabel('Your name').fill('Ada Lovelace');
  await page.getByRole('button', { name: 'Join' }).click();
  await inRoom(page);
  const others = await newPerson(t, browser);
  await crowd(others, server.origin, new URL(link).pathname, ['Grace', 'x'.repeat(80), '😀'.repeat(80), 'كريم']);
  const lost = await comeIn(await newPerson(t, browser), link, 'Lost');
  await lost.context().close();
  await page.locator('.person[data-status="reconnecting"]').waitFor();
  await page.locator('.person[data-status="idle"]').first().waitFor();
  await page.locator('#host').evaluate((panel) => { panel.open = true; });
  await page.getByRole('button', { name: 'Remove people…' }).click();
  await page.locator('#links li').first().waitFor();
  await step('the room, with all tools');
  await page.getByRole('button', { name: 'Leave' }).click();
  await page.locator('#ended').waitFor();
  await step('the end');
}

test('axe finds nothing serious on any page, in both themes', (t) => walk(t, {}, accessible));
test('axe finds nothing serious on a phone, and nothing is wider than it', (t) => walk(t, PHONE, async (page, where) => {
  await accessible(page, where);
  await fits(page, where);
}));

/** The part of the window that the element is in: 0 is its upper edge, 1 its lower one. */
const place = (locator) => locator.evaluate((it) => {
  const { top, bottom } = it.getBoundingClientRect();
  return [top / innerHeight, bottom / innerHeight];
});

test('a phone shows a host who is here first, also during a sit; what comes after is one press away', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser, { ...PHONE, viewport: { width: 360, height: 640 } }), server.origin + session.hostPath, 'Ada');
  const others = await newPerson(t, browser);
  await crowd(others, server.origin, session.guestPath, Array.from({ length: 30 }, (_, n) => `Reader ${n}`));
  await ada.getByRole('heading', { name: '31 people here' }).waitFor();
  const isSeen = async (what, above) => {
    const [top, bottom] = await place(row(ada, 'Ada'));
    assert.ok(top > 0 && bottom < above, `${what}: from ${top} to ${bottom} of the window`);
  };
  await isSeen('as it comes', 0.5);
  const [, end] = await place(ada.locator('#people'));
  for (const tool of ['#start-sit', '#invite', '#host']) {
    const [top] = await place(ada.locator(tool));
    assert.ok(top >= end, `${tool} comes after the people`);
  }

  await ada.getByRole('button', { name: 'Invite', exact: true }).click();
  await ada.getByRole('button', { name: 'Make an invite link' }).waitFor();
  const summary = ada.locator('#invite summary');
  await until('the panel is in the window', async () => (await place(summary)).every((edge) => edge >= 0 && edge <= 1));
  assert.equal(await summary.evaluate((it) => it === document.activeElement), true, 'the focus');

  await ada.getByRole('button', { name: 'Begin' }).click();
  await ada.getByRole('region', { name: 'Sit' }).getByText('Sitting together').waitFor();
  await ada.evaluate(() => scrollTo(0, 0));
  await isSeen('during a sit', 1);
});

test('the keyboard alone: open, come in, invite, remove, close', async (t) => {
  const page = await newPerson(t, browser);
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  await page.goto(server.origin);
  await tabTo(page, 'What are you reading?');
  await page.keyboard.type('By keyboard');
  await press('Enter');
  await page.locator('#opened').waitFor();
  const link = await page.getByRole('textbox', { name: 'Invite link' }).inputValue();
  await tabTo(page, 'Go in as host');
  await press('Enter');
  await page.getByLabel('Your name').waitFor();
  await page.waitForFunction(() => document.activeElement.id === 'name');
  await page.keyboard.type('Ada');
  await press('Enter');
  await inRoom(page);
  await page.waitForFunction(() => document.activeElement.id === 'count');
  const bob = await comeIn(await newPerson(t, browser), link, 'Bob');
  const cid = await comeIn(await newPerson(t, browser), link, 'Cid');
  await Promise.all([sees(page, 'Bob'), sees(page, 'Cid')]);
  await tabTo(page, 'Remove people');
  await press('Enter');
  await page.locator('#count').focus();
  await tabTo(page, 'Remove \u2068Bob');
  await press('Enter', 'Enter');
  await bob.getByRole('heading', { name: 'You were removed' }).waitFor();
  await seesNoMore(page, 'Bob');
  // Who works through the list goes on with the next person.
  await page.waitForFunction(() => document.activeElement.getAttribute('aria-label')?.includes('Cid'));
  await tabTo(page, 'Close the session');
  await press('Enter', 'Enter');
  for (const who of [page, cid]) await who.getByRole('heading', { name: 'The session was closed' }).waitFor();
  await tabTo(page, 'Open a session of your own');
});

test('a screen reader is told who comes and goes, and how the connection is', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  assert.equal(await ada.getByRole('log', { name: 'Coming and going' }).getAttribute('id'), 'news');
  const notices = await listen(ada);
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  await notices.until('Bob came in.');
  await ada.getByRole('status').getByText('Connected').waitFor();
  assert.equal(await ada.getByRole('list', { name: '2 people here' }).count(), 1);
  await bob.getByRole('button', { name: 'Leave' }).click();
  await notices.until('Bob is gone.');
  await row(ada, 'Ada').getByText('Good connection').waitFor({ state: 'attached' });
});

const HOSTILE = [
  '<img src=x onerror="window.harmed=1">',
  '<script>window.harmed=1</script>',
  '\u202egnitirw ni denrut\u202c',
  '\u2066unclosed isolate \u202e',
  '😀'.repeat(80),
  '👩‍👩‍👧‍👦 & family',
  'Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308a\u0300\u0301\u0302\u0303\u0304lgo',
  '"><svg onload=window.harmed=1>',
  '{{constructor}} ${1+1} &lt;b&gt;',
];

test('names that mean harm are text, wherever they are shown', async (t) => {
  const session = await openSession(server, { title: HOSTILE[0], max_participants: 50 });
  const ada = await comeIn(await newPerson(t, browser, PHONE), server.origin + session.hostPath, HOSTILE[1]);
  const others = await newPerson(t, browser);
  await crowd(others, server.origin, session.guestPath, HOSTILE);
  await ada.getByRole('heading', { name: `${HOSTILE.length + 1} people here` }).waitFor();
  const names = await ada.locator('#people bdi').allTextContents();
  // What turns the writing is taken out of a name.
  const kept = (name) => name.replace(/[\u202a-\u202e\u2066-\u2069]/gu, '').trim();
  for (const name of HOSTILE) assert.ok(names.includes(kept(name)), name);
  assert.equal(await ada.locator('#title').textContent(), HOSTILE[0]);
  assert.equal(await ada.locator('#people :is(img, script, svg, b)').count(), 0);
  await fits(ada, 'the list');
  // What is beside a name that turns the writing is not turned: it stands on the right of the name's beginning.
  const boxes = await ada.locator('#people .person').evaluateAll((rows) => rows.map((it) => {
    const [avatar, who] = it.children;
    return [avatar.getBoundingClientRect().right, who.getBoundingClientRect().left, it.getBoundingClientRect().right - innerWidth];
  }));
  for (const [left, right, over] of boxes) assert.ok(left < right && over <= 0);
  await others.evaluate(() => window.crowd.forEach((room) => room.leave()));
  await ada.getByRole('heading', { name: '1 person here' }).waitFor();
  for (const page of [ada, others]) assert.equal(await page.evaluate(() => window.harmed), undefined);
});
