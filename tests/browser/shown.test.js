// What some browsers show otherwise than one thinks: letters that are cut off, lists that are none.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, inRoom, launch, newPerson } from './harness/browser.js';
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

test('the title of a room is shown whole, from the marks above it to what hangs below', async (t) => {
  const session = await openSession(server, { title: 'ÅÉ gjpqy' });
  const page = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  for (const width of [360, 1100]) {
    await page.setViewportSize({ width, height: 800 });
    const over = await page.locator('#title').evaluate((title) => {
      const baseline = document.createElement('span');
      baseline.style.display = 'inline-block';
      title.append(baseline);
      const { top, bottom } = title.getBoundingClientRect();
      const at = baseline.getBoundingClientRect().bottom;
      baseline.remove();
      const pen = document.createElement('canvas').getContext('2d');
      const { fontStyle, fontWeight, fontSize } = getComputedStyle(title);
      // Whatever serif a reader has: these reach furthest of those that systems come with.
      const reach = [getComputedStyle(title).fontFamily, 'serif'].map((family) => {
        pen.font = `${fontStyle} ${fontWeight} ${fontSize} ${family}`;
        return pen.measureText(title.textContent);
      });
      const size = parseFloat(fontSize);
      return {
        above: Math.max(...reach.map((text) => text.actualBoundingBoxAscent)) - (at - top),
        below: Math.max(0.29 * size, ...reach.map((text) => text.actualBoundingBoxDescent)) - (bottom - at),
      };
    });
    assert.ok(over.above <= 0 && over.below <= 0, `at ${width} px: ${JSON.stringify(over)} px are cut off`);
  }
});

test('lists that show no marks say that they are lists: WebKit drops it where nobody says so', async (t) => {
  const session = await openSession(server);
  const page = await newPerson(t, browser);
  const silent = async (where) => {
    const found = await page.evaluate(() => [...document.querySelectorAll('ul, ol')]
      .filter((list) => getComputedStyle(list).listStyleType === 'none' && list.getAttribute('role') !== 'list')
      .map((list) => list.outerHTML.slice(0, 80)));
    assert.deepEqual(found, [], where);
  };
  await page.goto(server.origin);
  await silent('the first page');
  await comeIn(page, server.origin + session.hostPath, 'Ada');
  await inRoom(page);
  await silent('the room');
  await page.goto(`${server.origin}/admin`);
  await page.getByLabel('Service token').fill(token({ role: 'service_role' }));
  await page.getByRole('button', { name: 'Look' }).click();
  await page.locator('#sessions .open').first().click();
  await page.locator('.folk').waitFor({ state: 'attached' });
  await page.locator('.keys').first().waitFor();
  await silent('the dashboard');
});
