// Records the frames that one connection receives, and the room at the end: tests/js/recorded.json, input of the tests of
// the fold. Made again, after a change of the protocol, by: script/test --browser record.js

import { writeFileSync } from 'node:fs';

import { crowd, launch, newPerson } from './harness/browser.js';
import { startProxy } from './harness/proxy.js';
import { ask, openSession, startServer } from './harness/server.js';
import { token } from './harness/token.js';

const into = new URL('../js/recorded.json', import.meta.url);
const server = await startServer({ 'detail-limit': '6', grace: '1s', 'idle-after': '1s', 'max-frame-bytes': '8192' });
const browser = await launch();
const network = await startProxy(server);

try {
  const session = await openSession(server, { title: 'Recorded' });
  const frames = [];
  const receiver = await newPerson(null, browser);
  receiver.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => frames.push(JSON.parse(payload))));
  await crowd(receiver, server.origin, session.hostPath, ['Ear']);

  /** Waits for a frame that is so. */
  const received = async (what) => {
    const from = frames.length;
    while (!frames.slice(from).some(what)) await new Promise((done) => setTimeout(done, 20));
  };
  const together = (what, act) => Promise.all([received(what), act()]);
  const others = await newPerson(null, browser);
  const inCrowd = (act) => () => others.evaluate(act);

  await together(({ joins }) => joins?.some(({ name }) => name === 'Cid'), () => crowd(others, network.origin, session.guestPath, ['Ada', 'Bob', 'Cid']));
  await together(({ updates }) => updates?.some(({ state }) => state.page === 7), inCrowd(() => window.crowd[0].update({ page: 7 })));
  await together(({ updates }) => updates?.some(({ status }) => status === 'idle'), async () => {});
  await together(({ updates }) => updates?.some(({ status }) => status === 'active'), inCrowd(() => window.crowd[1].setActive()));
  await together(({ leaves }) => leaves?.some(({ reason }) => reason === 'left'), inCrowd(() => window.crowd[2].leave()));
  await together(({ updates }) => updates?.some(({ status }) => status === 'reconnecting'), async () => network.cut());
  await received(({ leaves }) => leaves?.some(({ reason }) => reason === 'timeout'));
  network.mend();

  const many = await newPerson(null, browser);
  await together(({ type }) => type === 'occupancy', () => crowd(many, server.origin, session.guestPath, Array.from({ length: 7 }, (_, n) => `Reader ${n}`)));
  await together(({ type }) => type === 'state', () => many.evaluate(() => window.crowd.slice(0, 6).forEach((room) => room.leave())));
  await others.evaluate(() => window.crowd.forEach((room) => room.leave()));
  // Five large states, which no frame of this server holds: within one interval, as soon as the machine is quick enough.
  const large = await newPerson(null, browser);
  await crowd(large, server.origin, session.guestPath, Array.from({ length: 4 }, (_, n) => `Large ${n}`));
  const isLong = ({ type, chunk, chunks }) => type === 'more' && chunk === chunks;
  for (let n = 0; !frames.some(isLong); n++) {
    await large.evaluate((n) => window.crowd.forEach((room) => room.update({ n, text: 'x'.repeat(1900) })), n);
    await new Promise((done) => setTimeout(done, 2_000));
  }
  await large.evaluate(() => window.crowd.forEach((room) => room.leave()));
  await together(({ joins }) => joins?.some(({ name }) => name === 'Dora'), async () => crowd(await newPerson(null, browser), server.origin, session.guestPath, ['Dora']));

  let end;
  do end = await ask(server, 'GET', `/v1/reading-sessions/${session.id}/participants`, { token: token({ role: 'service_role' }) });
  while (end.seq !== frames.findLast(({ seq }) => seq)?.seq);
  const kept = frames.map((frame) => (frame.type === 'welcome' ? { ...frame, resume: 'lsr_' } : frame));
  writeFileSync(into, `{"frames":[\n${kept.map((frame) => JSON.stringify(frame)).join(',\n')}\n],"end":${JSON.stringify(end)}}\n`);
} finally {
  network.end();
  await browser.close();
  await server.end();
}
