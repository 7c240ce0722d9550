// A sit of the room, told by the real server: for all, for whoever comes later, and to its end.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, connection, CUT, crowd, inRoom, launch, newPerson, sees } from './harness/browser.js';
import { openSession, startServer } from './harness/server.js';

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

const ring = (page) => page.getByRole('region', { name: 'Sit' });
const runs = (page) => ring(page).getByText('Sitting together').waitFor();
const isComplete = (page) => ring(page).getByText('The sit is complete').waitFor();

test('the host starts a sit, and everyone sees the ring, also after a reload or coming later', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  assert.equal(await bob.getByRole('button', { name: 'Begin' }).isVisible(), false);
  await ada.getByLabel('Sit together').selectOption('5');
  await ada.getByRole('button', { name: 'Begin' }).click();
  for (const page of [ada, bob]) {
    await runs(page);
    await page.getByRole('log').getByText('A sit of 5 minutes has begun.').waitFor();
  }
  await ring(bob).getByText(/^4:\d\d$/).waitFor();
  assert.equal(await ada.getByRole('button', { name: 'Begin' }).isVisible(), false);
  await bob.reload();
  await inRoom(bob);
  await runs(bob);
  const cid = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Cid');
  await runs(cid);
});

test('at its end the sit is complete for all who are here, and the next one can begin', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const host = await newPerson(t, browser);
  await crowd(host, server.origin, session.hostPath, ['Host']);
  await sees(ada, 'Host');
  await host.evaluate(() => window.crowd[0].startSit(4));
  await runs(ada);
  await isComplete(ada);
  await ada.getByRole('button', { name: 'Begin' }).click();
  await runs(ada);
});

test('a sit outlives the server, and ends for those who come back', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser, { expects: [CUT] }), server.origin + session.hostPath, 'Ada');
  await ada.getByRole('button', { name: 'Begin' }).click();
  await runs(ada);
  await server.kill();
  await connection(ada, 'reconnecting');
  await runs(ada);
  await server.start();
  await connection(ada, 'connected');
  await runs(ada);
  await ada.getByRole('button', { name: 'Begin' }).waitFor({ state: 'hidden' });
});
