// Debian's Chromium, and people in it: each with a context of their own, and an ear for complaints.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';

import { chromium } from 'playwright-core';

import { later } from './later.js';

/** More than the longest wait of the client before it tries again (30 s); only a test that fails waits so long. */
export const PATIENCE_MS = 60_000;

function executable() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return execFileSync('which', [name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      // The next one.
    }
  }
  throw new Error('no Chromium: run script/setup --browser, or set CHROMIUM to where it is');
}

export const launch = (options) =>
  chromium.launch({ executablePath: executable(), args: process.getuid?.() === 0 ? ['--no-sandbox'] : [], ...options });

/** What Chromium itself writes where a request is refused or cut, which is no fault of the page. */
export const REFUSED = /^Failed to load resource: the server responded with a status of 4/;
export const CUT = /^(Failed to load resource: net::|WebSocket connection to .* failed)/;

/**
 * A context with one page, in which nothing may go wrong unheard: errors on the console, exceptions and what the
 * Content-Security-Policy refused fail the test at its end, but for what `expects` names.
 */
export async function newPerson(t, browser, { expects = [], ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, locale: 'en-GB', ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const complaints = [];
  const complain = (text) => { if (!expects.some((known) => known.test(text))) complaints.push(text); };
  context.on('console', (message) => { if (message.type() === 'error') complain(message.text()); });
  context.on('weberror', (error) => complain(String(error.error())));
  await context.exposeFunction('violated', complain);
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => window.violated(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const page = await context.newPage();
  if (t) {
    later(t, async () => {
      await context.close();
      assert.deepEqual(complaints, [], 'nothing to complain about on the console');
    });
  }
  return page;
}

/** Comes in by name, and is in the room. */
export async function comeIn(page, address, name) {
  await page.goto(address);
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Join' }).click();
  await inRoom(page);
  return page;
}

export const inRoom = (page) => page.locator('#people .person').first().waitFor();

/** The row of a person who is here. */
export const row = (page, name) => page.locator('#people .person:not([inert])').filter({ has: page.locator('bdi', { hasText: new RegExp(`^${escape(name)}$`) }) });
const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

export const sees = (page, name) => row(page, name).waitFor();
export const seesNoMore = (page, name) => row(page, name).waitFor({ state: 'detached' });
export const seesStatus = (page, name, status) => row(page, name).and(page.locator(`[data-status="${status}"]`)).waitFor();

/** The state of the connection, as the page shows it. */
export const connection = (page, status) => page.locator(`#connection[data-status="${status}"]`).waitFor();

/** Tab until the thing whose name begins so has the focus, and make sure that the focus can be seen. */
export async function tabTo(page, name) {
  for (let n = 0; n < 80; n++) {
    await page.keyboard.press('Tab');
    const { label, outline } = await page.evaluate(() => {
      const it = document.activeElement;
      return { label: it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent, outline: getComputedStyle(it).outlineStyle };
    });
    if (!label.trim().startsWith(name)) continue;
    assert.notEqual(outline, 'none', `the focus on ${name} is seen`);
    return;
  }
  assert.fail(`no way to ${name} with Tab`);
}

/**
 * Every text that an element shows from now on, however soon another takes its place: the notices of the room, where no
 * other element is named. `until` waits for a text, `all` gives those that were shown so far.
 */
export async function listen(page, id = 'news') {
  await page.evaluate((id) => {
    const shown = (window.shown ??= {})[id] = [];
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) {
        for (const { textContent } of addedNodes) shown.push(textContent.replace(/[\u2068\u2069]/g, ''));
      }
    }).observe(document.getElementById(id), { childList: true });
  }, id);
  return {
    until: (text) => page.waitForFunction(([id, text]) => window.shown[id].includes(text), [id, text]),
    all: () => page.evaluate((id) => window.shown[id], id),
  };
}

/** Waits until something is so that no page can tell. */
export async function until(what, isSo) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, `never: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Presses a button that asks whether one is sure, and says yes before it forgets the question. */
export const pressTwice = (button) => button.dblclick();

/** People without pages: sockets of the client library, all in one page. */
export async function crowd(page, origin, path, names) {
  await page.goto(origin);
  await page.evaluate(async ([url, names]) => {
    const { join } = await import('/lastseen.js');
    const nothing = { getItem: () => null, setItem() {}, removeItem() {} };
    window.crowd = names.map((name) => join(url, { name, storage: nothing, page: new EventTarget() }));
    await Promise.all(window.crowd.map((room) => new Promise((done, failed) => {
      room.on('status', (status) => status === 'connected' && done());
      room.on('closed', ({ message }) => failed(new Error(message)));
    })));
  }, [origin + path, names]);
}
