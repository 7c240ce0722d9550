import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { fold, presence } from '../../packages/client/presence.js';
import { chance, diff, inFrames, person, welcome } from './fakes.js';

const ids = (view) => [...view.participants.keys()].sort();

function welcomed(people, more = {}) {
  const view = presence();
  const change = fold(view, welcome({ occupancy: people.length, participants: people, ...more }));
  return { view, change };
}

test('a welcome is who is here', () => {
  const { view, change } = welcomed([person('me'), person('b')]);
  assert.deepEqual(ids(view), ['b', 'me']);
  assert.equal(view.you, 'me');
  assert.equal(view.occupancy, 2);
  assert.equal(view.seq, 41);
  assert.equal(change.cause, 'welcome');
  assert.deepEqual(change.joins.map(({ id }) => id), ['me', 'b']);
  assert.equal(change.gap, false);
});

test('a diff brings joins, updates and leaves', () => {
  const { view } = welcomed([person('me'), person('b')]);
  const idle = person('me', { status: 'idle' });
  const change = fold(view, diff(42, {
    occupancy: 2, joins: [person('c')], updates: [idle], leaves: [{ id: 'b', reason: 'timeout' }],
  }));
  assert.deepEqual(change, {
    cause: 'diff', joins: [person('c')], updates: [idle], leaves: [{ participant: person('b'), reason: 'timeout' }], gap: false,
  });
  assert.deepEqual(ids(view), ['c', 'me']);
  assert.equal(view.participants.get('me').status, 'idle');
});

test('joins and updates are upserts: what is told twice changes nothing', () => {
  const { view } = welcomed([person('me'), person('b')]);
  const again = fold(view, diff(42, { occupancy: 2, joins: [person('b')], updates: [person('me')] }));
  assert.deepEqual([again.joins, again.updates], [[], []]);
  const changed = fold(view, diff(43, { occupancy: 3, joins: [person('b', { connections: 2 })], updates: [person('c')] }));
  assert.deepEqual(changed.updates.map(({ id }) => id), ['b']);
  assert.deepEqual(changed.joins.map(({ id }) => id), ['c']);
});

test('a leave of somebody unknown is harmless', () => {
  const { view } = welcomed([person('me')]);
  const change = fold(view, diff(42, { leaves: [{ id: 'nobody', reason: 'left' }] }));
  assert.deepEqual(change.leaves, []);
  assert.deepEqual(ids(view), ['me']);
});

test('a diff that a snapshot has told already is not folded again', () => {
  const { view } = welcomed([person('me')]);
  fold(view, { type: 'state', seq: 50, occupancy: 1, participants: [person('me')] });
  assert.equal(fold(view, diff(50, { joins: [person('gone')] })), null);
  assert.equal(fold(view, { type: 'occupancy', seq: 49, occupancy: 9 }), null);
  assert.equal(view.occupancy, 1);
  assert.deepEqual(ids(view), ['me']);
});

test('a gap is one until a snapshot comes', () => {
  const { view } = welcomed([person('me')]);
  assert.equal(fold(view, diff(42)).gap, false);
  const late = fold(view, diff(44, { occupancy: 3, joins: [person('d')] }));
  assert.equal(late.gap, true);
  assert.deepEqual(ids(view), ['d', 'me'], 'what is known is shown meanwhile');
  assert.equal(fold(view, diff(45, { occupancy: 3 })).gap, true);
  const state = fold(view, { type: 'state', seq: 45, occupancy: 2, participants: [person('me'), person('b')] });
  assert.equal(state.gap, false);
  assert.deepEqual(state.leaves, [{ participant: person('d'), reason: null }]);
  assert.deepEqual(ids(view), ['b', 'me']);
  assert.equal(fold(view, diff(46)).gap, false);
});

test('a gap before an occupancy frame is one too', () => {
  const { view } = welcomed([person('me')]);
  assert.equal(fold(view, { type: 'occupancy', seq: 43, occupancy: 812 }).gap, true);
});

test('a room over the limit lists only oneself, and everyone again below it', () => {
  const { view } = welcomed([person('me'), person('b'), person('c')]);
  const over = fold(view, { type: 'occupancy', seq: 42, occupancy: 501 });
  assert.deepEqual(ids(view), ['me']);
  assert.equal(view.occupancy, 501);
  assert.deepEqual(over.leaves.map(({ participant, reason }) => [participant.id, reason]), [['b', null], ['c', null]]);
  fold(view, { type: 'state', seq: 43, occupancy: 2, participants: [person('me'), person('b')] });
  assert.deepEqual(ids(view), ['b', 'me']);
  assert.equal(view.occupancy, 2);
});

test('an observer is nobody, and sees nobody in a room over the limit', () => {
  const { view } = welcomed([person('b')], { you: null, resume: null });
  assert.equal(view.you, null);
  fold(view, { type: 'occupancy', seq: 42, occupancy: 501 });
  assert.deepEqual(ids(view), []);
});

test('a welcome after a reconnect replaces everything, also with a lower seq', () => {
  const { view } = welcomed([person('me'), person('b')]);
  const change = fold(view, welcome({ seq: 3, you: 'me2', occupancy: 1, participants: [person('me2')] }));
  assert.deepEqual(ids(view), ['me2']);
  assert.equal(view.you, 'me2');
  assert.equal(view.seq, 3);
  assert.equal(change.leaves.length, 2);
  assert.equal(fold(view, diff(4)).gap, false);
});

test('frames of other kinds say nothing about who is here', () => {
  const { view } = welcomed([person('me')]);
  for (const type of ['beat', 'error', 'expiring', 'something-new']) assert.equal(fold(view, { type, seq: 99 }), null);
  assert.equal(view.seq, 41);
});

test('the Map stays the same one', () => {
  const { view } = welcomed([person('me')]);
  const { participants } = view;
  fold(view, { type: 'state', seq: 42, occupancy: 1, participants: [person('x')] });
  assert.equal(view.participants, participants);
});

/**
 * A room as the server keeps it: changes gather until a tick tells them as one diff, in which everybody appears as what
 * they end as; snapshots already include what is gathered, so that the next diff overlaps them.
 */
class Model {
  seq = 41;
  people = new Map();
  gathered = new Map(); // id -> how it was before the first change since the last tick
  constructor(random, limit) {
    Object.assign(this, { random, limit, next: 0, wasOver: false });
    this.people.set('me', person('me'));
  }
  any() {
    const others = [...this.people.keys()].filter((id) => id !== 'me');
    return others[Math.floor(this.random() * others.length)];
  }
  touch(id) {
    if (!this.gathered.has(id)) this.gathered.set(id, this.people.get(id));
  }
  act() {
    const dice = this.random();
    const id = dice < 0.45 ? `p${this.next++ % 40}` : dice < 0.5 ? 'me' : this.any();
    if (!id) return;
    this.touch(id);
    if (dice < 0.45) this.people.set(id, person(id, { connections: 1 + Math.floor(this.random() * 3) }));
    else if (dice < 0.75) this.people.set(id, { ...this.people.get(id), status: this.random() < 0.5 ? 'idle' : 'active' });
    else this.people.delete(id);
  }
  get over() {
    return this.people.size > this.limit;
  }
  snapshot(type) {
    const participants = this.over ? [this.people.get('me')] : [...this.people.values()];
    const { seq } = this;
    const frame = { type, seq, occupancy: this.people.size, participants };
    return structuredClone(type === 'welcome' ? { ...welcome(), ...frame } : frame);
  }
  tick() {
    const frame = diff(++this.seq, { occupancy: this.people.size });
    for (const [id, before] of this.gathered) {
      const now = this.people.get(id);
      if (!now) frame.leaves.push({ id, reason: 'left' });
      else (before ? frame.updates : frame.joins).push(now);
    }
    this.gathered.clear();
    const { over, wasOver } = this;
    this.wasOver = over;
    if (over) return [{ type: 'occupancy', seq: this.seq, occupancy: this.people.size }];
    return structuredClone(wasOver ? [this.snapshot('state')] : [frame]);
  }
  /** What a client must know. */
  get truth() {
    return this.over ? new Map([['me', this.people.get('me')]]) : this.people;
  }
}

test('random rooms: after gaps, overlaps, repeats and floods the view is the room', () => {
  let gaps = 0;
  let floods = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const random = chance(seed);
    const model = new Model(random, seed % 2 ? Infinity : 12);
    const view = presence();
    const mirror = new Map(); // built from the changes alone
    let asked = false;
    const told = [];

    const frames = chance(seed + 1000);
    const deliver = (message) => {
      told.push(message);
      const chunks = /^(welcome|state|diff)$/.test(message.type) && frames() < 0.3 ? 2 + Math.floor(frames() * 3) : 1;
      const changes = inFrames(message, chunks).map((frame) => fold(view, frame));
      assert.deepEqual(changes.slice(0, -1), Array(chunks - 1).fill(null), `seed ${seed}: folded before it was whole`);
      const change = changes.at(-1);
      if (!change) return;
      if (change.cause === 'state' || change.cause === 'welcome') asked = false;
      for (const p of change.joins) {
        assert.ok(!mirror.has(p.id), `seed ${seed}: ${p.id} joined twice`);
        mirror.set(p.id, p);
      }
      for (const p of change.updates) {
        assert.ok(mirror.has(p.id), `seed ${seed}: update of ${p.id}, who never joined`);
        mirror.set(p.id, p);
      }
      for (const { participant } of change.leaves) assert.ok(mirror.delete(participant.id), `seed ${seed}: left twice`);
      assert.deepEqual(mirror, view.participants, `seed ${seed}: joins and leaves add up to the Map`);
      if (change.gap) asked = true;
    };

    deliver(model.snapshot('welcome'));
    for (let round = 0; round < 60; round++) {
      for (let n = Math.floor(random() * 6); n > 0; n--) model.act();
      if (random() < 0.15) deliver(model.snapshot(random() < 0.3 ? 'welcome' : 'state')); // in the midst of a gathering
      const frames = model.tick();
      const lost = random() < 0.1;
      if (!lost) frames.forEach(deliver);
      const old = told.at(-1 - Math.floor(random() * 3));
      if (random() < 0.1 && old?.type === 'diff') deliver(old); // told once more
      if (model.over) floods++;
      if (asked && random() < 0.6) {
        gaps++;
        deliver(model.snapshot('state'));
      }
      if (!lost && !asked && view.seq === model.seq && !model.over) {
        assert.deepEqual(new Map([...view.participants].sort()), new Map([...model.truth].sort()), `seed ${seed}, round ${round}`);
        assert.equal(view.occupancy, model.people.size);
      }
    }
    model.tick(); // lost, so that the last one shows a gap
    model.tick().forEach(deliver);
    if (asked) deliver(model.snapshot('state'));
    assert.deepEqual(ids(view), [...model.truth.keys()].sort(), `seed ${seed}`);
    for (const [id, p] of view.participants) if (!model.over) assert.deepEqual(p, model.truth.get(id), `seed ${seed}: ${id}`);
    assert.equal(view.occupancy, model.people.size, `seed ${seed}`);
  }
  assert.ok(gaps > 200 && floods > 200, `${gaps} gaps, ${floods} rounds over the limit: the test would prove nothing`);
});

test('what was recorded of a real room folds into who the server said was there', () => {
  // Made by tests/browser/record.js: people come, change, idle, are lost, come back and go, and are once too many to list.
  const { frames, end } = JSON.parse(readFileSync(new URL('recorded.json', import.meta.url)));
  const kinds = new Set(frames.map(({ type }) => type));
  for (const kind of ['welcome', 'diff', 'more', 'occupancy', 'state', 'beat']) assert.ok(kinds.has(kind), kind);
  const view = presence();
  for (const frame of frames) {
    const change = fold(view, frame);
    assert.equal(change === null, frame.type === 'beat' || frame.chunk < frame.chunks);
    if (change) assert.deepEqual([change.gap, view.seq, view.occupancy], [false, frame.seq, frame.occupancy ?? view.occupancy]);
    if (frame.type === 'occupancy') assert.deepEqual(ids(view), [view.you]);
  }
  // When somebody was last seen is told only with something else.
  const told = ({ last_seen_at, ...person }) => person;
  const byId = (people) => Object.fromEntries([...people].map((person) => [person.id, told(person)]));
  assert.deepEqual(byId(view.participants.values()), byId(end.items));
  assert.deepEqual([view.seq, view.occupancy], [end.seq, end.occupancy]);
});
