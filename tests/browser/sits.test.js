// A sit of the room, told by the real server: for all, for whoever comes later, and to its end.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { comeIn, connection, CUT, crowd, inRoom, launch, listen, newPerson, sees } from './harness/browser.js';
import { openSession, startServer } from './harness/server.js';

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([startServer({ grace: '10m' }), launch()]);
});
after(async () => {
  await browser.close();
  await server.end();
});

const ring = (page) => page.getByRole('region', { name: 'Sit' });
const runs = (page) => ring(page).getByText('Sitting together').waitFor();

test('the host starts a sit, and everyone sees the ring, also after a reload or coming later', async (t) => {
  const session = await openSession(server);
  const ada = await comeIn(await newPerson(t, browser), server.origin + session.hostPath, 'Ada');
  const bob = await comeIn(await newPerson(t, browser), server.origin + session.guestPath, 'Bob');
  assert.equal(await bob.getByRole('button', { name: 'Begin' }).isVisible(), false);
  const notices = await Promise.all([ada, bob].map((page) => listen(page)));
  await ada.getByLabel('Sit together').selectOption('5');
  await ada.getByRole('button', { name: 'Begin' }).click();
  for (const page of [ada, bob]) await runs(page);
  for (const { until } of notices) await until('A sit of 5 minutes has begun.');
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
  const [notices, words] = [await listen(ada), await listen(ada, 'sit-word')];
  await host.evaluate(() => window.crowd[0].startSit(2));
  await notices.until('The sit is complete.');
  assert.deepEqual(await notices.all(), ['A sit of 2 seconds has begun.', 'The sit is complete.']);
  assert.deepEqual(await words.all(), ['Sitting together', 'The sit is complete']);
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
