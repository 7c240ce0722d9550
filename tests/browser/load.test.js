// The page that `lastseen load --html` writes: charts of a real run, by itself in a browser.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { launch, newPerson } from './harness/browser.js';
import { program, startServer } from './harness/server.js';

let server, browser, out;
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
  out = mkdtempSync(join(tmpdir(), 'lastseen-load-'));
});
after(async () => {
  await browser.close();
  await server.end();
  rmSync(out, { recursive: true, force: true });
});

test('every chart is drawn, in both themes, and the report stands below', async (t) => {
  const file = join(out, 'report.html');
  const flags = ['--sessions=2', '--per-session=3', '--duration=2s', '--beat-interval=1s', `--html=${file}`];
  const text = execFileSync(program, ['load', `--url=${server.origin}`, ...flags], { encoding: 'utf8' });
  const page = await newPerson(t, browser);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.goto(pathToFileURL(file).href);
    await page.locator('figure').nth(5).locator('canvas').waitFor();
    assert.equal(await page.locator('canvas').count(), await page.locator('figcaption').count());
    assert.equal(await page.locator('pre').textContent(), text);
  }
});
