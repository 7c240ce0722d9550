// The cases that every fold of the protocol must get right; the load generator's reads the same file.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { fold, presence } from '../../packages/client/presence.js';
import { person } from './fakes.js';

// People are numbers in the file.
const people = (numbers) => numbers?.map((number) => person(number));
const told = ({ people: listed, joins, updates, leaves, ...frame }) => ({
  ...(frame.type !== 'more' && { occupancy: listed?.length }),
  ...frame,
  ...(listed && { participants: people(listed) }),
  ...(joins && { joins: people(joins), updates: people(updates), leaves: leaves.map((id) => ({ id, reason: 'left' })) }),
});

for (const { case: name, frames, gaps = 0, view: expected } of JSON.parse(readFileSync(new URL('fold.json', import.meta.url)))) {
  test(name, () => {
    const view = presence();
    const changes = frames.map((frame) => fold(view, told(frame)));
    assert.equal(changes.filter((change) => change?.gap).length, gaps);
    assert.deepEqual({ seq: view.seq, occupancy: view.occupancy, people: [...view.participants.keys()].sort() }, expected);
  });
}
