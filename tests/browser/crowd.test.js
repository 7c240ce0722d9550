// Two hundred people in one list, and more than can be listed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, crowd, launch, newPerson, row, sees } from './harness/browser.js';
import { openSession, startServer } from './harness/server.js';

const PEOPLE = 200;

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer({
    'detail-limit': '250', 'max-participants': '300', 'diff-interval-large': '200ms',
    // The first Ping tells of everybody's connection, which on a slow machine is in the middle of a test.
    'ping-interval': '10m', 'dead-after': '20m',
  }), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

const names = (from, to) => Array.from({ length: to - from }, (_, n) => `Reader ${from + n}`);

test('two hundred people: all listed in order, and changed one by one', async (t) => {
  const session = await openSession(server);
  const others = await newPerson(t, browser);
  await crowd(others, server.origin, session.guestPath, names(0, PEOPLE - 1));
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  await ada.getByRole('heading', { name: `${PEOPLE} people here` }).waitFor();
  const rows = ada.locator('#people .person');
  assert.equal(await rows.count(), PEOPLE);
  const shown = await rows.locator('bdi').allTextContents();
  const joined = await others.evaluate(() => [...window.crowd[0].participants.values()].sort((a, b) => a.joined_at.localeCompare(b.joined_at) || a.id.localeCompare(b.id)).map(({ name }) => name));
  assert.deepEqual(shown.slice(0, -1), joined.filter((name) => name !== 'Ada'));

  // Everybody's row stays the same element whatever happens to the others, and only changed rows are touched.
  await ada.evaluate(() => {
    window.kept = [...document.querySelectorAll('#people .person')];
    window.touched = new Set();
    window.long = [];
    new MutationObserver((list) => list.forEach(({ target }) => window.touched.add((target.closest ?? target.parentElement.closest).call(target.closest ? target : target.parentElement, '.person')?.dataset.id)))
      .observe(document.getElementById('people'), { subtree: true, characterData: true, childList: true, attributes: true, attributeFilter: ['data-status'] });
    new PerformanceObserver((list) => window.long.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
  });
  await others.evaluate(() => window.crowd[100].leave());
  await ada.getByRole('heading', { name: `${PEOPLE - 1} people here` }).waitFor();
  await rows.nth(PEOPLE - 1).waitFor({ state: 'detached' });
  await others.evaluate(() => window.crowd[50].update({ page: 7 }));
  const { same, touched, long } = await ada.evaluate(() => ({
    same: window.kept.filter((row) => row.isConnected).length,
    touched: [...window.touched].filter(Boolean).length,
    long: window.long,
  }));
  assert.equal(same, PEOPLE - 1);
  assert.ok(touched < 20, `${touched} rows were touched`);
  t.diagnostic(`long tasks while one left and one changed: ${long.map(Math.round).join(', ') || 'none'}`);
});

test('somebody is found among many, by letters without their marks', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const find = ada.getByRole('searchbox', { name: 'Find somebody' });
  assert.equal(await find.isVisible(), false, 'not among few');
  const others = await newPerson(t, browser);
  await crowd(others, server.origin, session.guestPath, [...names(0, 30), 'Björn Ångström']);
  await find.fill('bjorn ang');
  await ada.getByRole('status').getByText('1 of 32 found').waitFor();
  const shown = ada.locator('#people .person:visible');
  assert.deepEqual(await shown.locator('bdi').allTextContents(), ['Björn Ångström']);
  // Whoever comes and is not looked for is not shown, but counted.
  await crowd(await newPerson(t, browser), server.origin, session.guestPath, ['Late']);
  await ada.getByRole('status').getByText('1 of 33 found').waitFor();
  assert.equal(await shown.count(), 1);
  await find.fill('');
  await sees(ada, 'Late');
  await others.evaluate(() => window.crowd.slice(0, 20).forEach((room) => room.leave()));
  await find.waitFor({ state: 'hidden' });
});

test('coming and going does not move what is being read', async (t) => {
  const session = await openSession(server);
  const others = await newPerson(t, browser);
  await crowd(others, server.origin, session.guestPath, names(0, 60));
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const watched = row(ada, 'Reader 40');
  await watched.scrollIntoViewIfNeeded();
  /** Where it is, once it has come to rest. */
  const top = () => watched.evaluate((it) => new Promise((done) => {
    let last;
    let still = 0;
    const look = () => {
      const now = it.getBoundingClientRect().top;
      still = now === last ? still + 1 : 0;
      last = now;
      if (still > 20) done(now);
      else requestAnimationFrame(look);
    };
    look();
  }));
  const start = await top();
  await others.evaluate(() => [2, 5, 9].forEach((n) => window.crowd[n].leave()));
  await ada.getByRole('heading', { name: '58 people here' }).waitFor();
  await ada.locator('#people .person').nth(58).waitFor({ state: 'detached' });
  const end = await top();
  assert.ok(Math.abs(end - start) <= 2, `moved by ${end - start} px`);
});

test('more than are listed are counted, and listed again when there are fewer', async (t) => {
  const session = await openSession(server);
  const others = await newPerson(t, browser);
  await crowd(others, server.origin, session.guestPath, names(0, 255));
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  await ada.getByRole('heading', { name: '256 people here' }).waitFor();
  await ada.getByText('people are counted and not listed').waitFor();
  assert.equal(await ada.locator('#people .person').count(), 1);
  await sees(ada, 'Ada');
  // A tenth below the limit, since at the limit one more would be too many again.
  await others.evaluate(() => window.crowd.slice(0, 40).forEach((room) => room.leave()));
  await ada.getByRole('heading', { name: '216 people here' }).waitFor();
  await ada.locator('#people .person').nth(215).waitFor({ state: 'attached' });
  assert.equal(await ada.getByText('people are counted and not listed').isVisible(), false);
});
