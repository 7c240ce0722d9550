// What every page has to be for everyone: nothing that axe finds serious, nothing wider than the window.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** No finding of axe that is serious, in both themes. */
export async function accessible(page, where) {
  await page.evaluate(AXE);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }));
    const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`)]), [], `${where}, ${colorScheme}`);
  }
}

export async function fits(page, where) {
  const { wide, page: width } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, page: innerWidth }));
  assert.ok(wide <= width, `${where}: ${wide} px in a window of ${width}`);
}
