// How long it takes from the click on "Join" until the newcomer sees the host and the host sees the newcomer, in two
// contexts of one browser: the median of so many. Run by: script/test --browser click.js

import { comeIn, launch, newPerson, sees } from './harness/browser.js';
import { openSession, startServer } from './harness/server.js';

const TIMES = 21;

const server = await startServer();
const browser = await launch();
try {
  const session = await openSession(server);
  const host = await comeIn(await newPerson(null, browser), server.origin + session.hostPath, 'Host');
  const took = [];
  for (let n = 0; n < TIMES; n++) {
    const name = `Reader ${n}`;
    const page = await newPerson(null, browser);
    await page.goto(server.origin + session.guestPath);
    await page.getByLabel('Your name').fill(name);
    const clicked = performance.now();
    await page.getByRole('button', { name: 'Join' }).click();
    await Promise.all([sees(page, 'Host'), sees(host, name)]);
    took.push(performance.now() - clicked);
    await page.getByRole('button', { name: 'Leave' }).click();
    await page.context().close();
  }
  took.sort((a, b) => a - b);
  const ms = (share) => Math.round(took[Math.floor(share * (TIMES - 1))]);
  console.log(`from click to seeing each other: median ${ms(0.5)} ms of ${TIMES} (${ms(0)} to ${ms(1)} ms)`);
} finally {
  await browser.close();
  await server.end();
}
