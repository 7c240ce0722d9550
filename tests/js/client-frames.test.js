// Messages that come in several frames, and the frame by which the client says that it has read its welcome.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { connected, diff, enter, inFrames, person, welcome } from './fakes.js';

const PEOPLE = ['me', 'b', 'c', 'd', 'e'].map((id) => person(id));

test('a welcome is answered with a beat', async () => {
  const { room, socket, clock } = await enter();
  socket.open();
  assert.equal(socket.frames.length, 0);
  socket.tell(welcome());
  assert.deepEqual(socket.frames.map(({ type, active }) => [type, active]), [['beat', true]]);
  socket.answer();
  await clock.pass(29_999);
  assert.equal(socket.frames.length, 1, 'the next one is due after beat_ms');
  await clock.pass(1);
  assert.equal(socket.sent('beat').length, 2);
  room.leave();
});

test('a room is entered when the whole list is there', async () => {
  const { room, socket, events } = await enter();
  const [first, ...more] = inFrames(welcome({ occupancy: 5, participants: PEOPLE }), 3);
  socket.open();
  socket.tell(first);
  assert.equal(room.you, 'me');
  assert.equal(room.session.title, 'Evening');
  assert.deepEqual([room.status, room.participants.size, events.length], ['connecting', 0, 0]);
  assert.equal(socket.sent('beat').length, 1, 'that it was read does not wait for the rest');
  more.forEach((frame) => socket.tell(frame));
  assert.deepEqual([room.status, room.occupancy], ['connected', 5]);
  assert.deepEqual([...room.participants.keys()], PEOPLE.map(({ id }) => id));
  assert.deepEqual(events.map(([event]) => event), ['status', ...PEOPLE.map(() => 'join'), 'change']);
  room.leave();
});

test('a state that is set meanwhile is sent', async () => {
  const { room, socket, clock } = await enter();
  room.update({ page: 1 });
  const [first, last] = inFrames(welcome({ occupancy: 5, participants: PEOPLE }), 2);
  socket.open();
  socket.tell(first);
  room.update({ page: 2 });
  socket.tell(last);
  await clock.pass(1_000);
  assert.deepEqual(socket.sent('update').at(-1).state, { page: 2 });
  assert.ok(socket.sent('update').length <= 2);
  room.leave();
});

test('a connection that is lost in the middle leaves nothing behind', async () => {
  const { room, socket, clock, sockets } = await connected({}, {}, { occupancy: 2, participants: [person('me'), person('x')] });
  socket.end(1006);
  await clock.pass(5_000);
  const message = welcome({ seq: 7, occupancy: 5, participants: PEOPLE });
  sockets[1].open();
  inFrames(message, 3).slice(0, 2).forEach((frame) => sockets[1].tell(frame));
  assert.deepEqual([...room.participants.keys()], ['me', 'x'], 'what was known is shown until the list is whole');
  sockets[1].end(1006);
  await clock.pass(10_000);
  sockets[2].open();
  inFrames(message, 2).forEach((frame) => sockets[2].tell(frame));
  assert.deepEqual([room.status, [...room.participants.keys()].sort()], ['connected', ['b', 'c', 'd', 'e', 'me']]);
  sockets[2].tell(diff(8, { occupancy: 4, leaves: [{ id: 'b', reason: 'left' }] }));
  assert.equal(room.participants.size, 4);
  assert.equal(sockets[2].sent('sync').length, 0);
  room.leave();
});

test('a long diff is told once, and a long state ends a gap', async () => {
  const { room, socket, events } = await connected();
  events.length = 0;
  const joins = PEOPLE.slice(1);
  inFrames(diff(42, { occupancy: 5, joins }), 3).forEach((frame) => socket.tell(frame));
  assert.deepEqual(events.map(([event]) => event), ['join', 'join', 'join', 'join', 'change']);
  socket.tell(diff(44, { occupancy: 5 }));
  assert.equal(socket.sent('sync').length, 1);
  inFrames({ type: 'state', seq: 44, occupancy: 5, participants: PEOPLE }, 2).forEach((frame) => socket.tell(frame));
  socket.tell(diff(46, { occupancy: 5 }));
  assert.equal(socket.sent('sync').length, 2, 'the state has answered the first one');
  room.leave();
});
