// The line in which a room says what happens: nothing is lost, nothing waits for ever.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

// A module of the page, which no package.json calls one: read as what it is.
const source = readFileSync(new URL('../../static/room/notice-queue.js', import.meta.url));
const { noticeQueue } = await import(`data:text/javascript;base64,${source.toString('base64')}`);

/** A queue, what it has shown, and `pass`: the time of the notice that is shown is over. */
function started() {
  const shown = [];
  let timer = null;
  const clock = {
    setTimeout(then) {
      assert.equal(timer, null, 'one timer at a time');
      timer = then;
      return then;
    },
    clearTimeout() { timer = null; },
  };
  const pass = () => {
    const then = timer;
    timer = null;
    then();
  };
  const queue = noticeQueue((text) => shown.push(text), clock);
  const person = (name) => ({ id: name, name });
  return {
    shown,
    pass,
    queue,
    came: (...names) => queue.moves(names.map(person), []),
    gone: (...names) => queue.moves([], names.map(person)),
    isIdle: () => timer === null,
  };
}

test('the first notice is shown at once, and the next ones after it, in order', () => {
  const { queue, came, shown, pass, isIdle } = started();
  queue.text('A sit has begun.');
  came('Bob');
  queue.text('The sit is complete.');
  assert.deepEqual(shown, ['A sit has begun.']);
  pass();
  pass();
  assert.deepEqual(shown, ['A sit has begun.', 'Bob came in.', 'The sit is complete.']);
  pass();
  assert.ok(isIdle());
  queue.text('A sit has begun.');
  assert.equal(shown.at(-1), 'A sit has begun.', 'the line is free: nothing is waited for');
});

test('the same text twice is shown twice', () => {
  const { queue, shown, pass } = started();
  queue.text('The sit is complete.');
  queue.text('The sit is complete.');
  pass();
  assert.equal(shown.length, 2);
});

test('those who come and go while a notice is shown are one notice', () => {
  const { came, gone, shown, pass, isIdle } = started();
  came('Ada');
  for (const name of ['Bob', 'Cid', 'Dora', 'Eve']) came(name);
  gone('Ada');
  pass();
  assert.deepEqual(shown, ['Ada came in.', 'Bob and 3 others came in. Ada is gone.']);
  pass();
  assert.ok(isIdle());
});

test('up to three are named', () => {
  const { came, gone, shown, pass } = started();
  came('Ada', 'Bob');
  pass();
  came('Cid', 'Dora', 'Eve');
  pass();
  gone('Ada', 'Bob', 'Cid', 'Dora');
  assert.deepEqual(shown, ['Ada and Bob came in.', 'Cid, Dora and Eve came in.', 'Ada and 3 others are gone.']);
});

test('a text between them keeps its place', () => {
  const { queue, came, shown, pass } = started();
  queue.text('one');
  came('Ada');
  queue.text('two');
  came('Bob');
  came('Cid');
  for (let n = 0; n < 4; n++) pass();
  assert.deepEqual(shown, ['one', 'Ada came in.', 'two', 'Bob and Cid came in.']);
});

test('whoever came and went while another notice was shown is not spoken of', () => {
  const { queue, came, gone, shown, pass, isIdle } = started();
  queue.text('one');
  came('Ada');
  gone('Ada');
  gone('Bob');
  came('Bob');
  pass();
  assert.deepEqual(shown, ['one']);
  assert.ok(isIdle());
  came('Cid');
  assert.equal(shown.at(-1), 'Cid came in.');
});

test('a thousand people who come and go one by one are over with the next notice', () => {
  const { queue, came, gone, shown, pass, isIdle } = started();
  queue.text('one');
  for (let n = 0; n < 1000; n++) {
    came(`Reader ${n}`);
    if (n % 2 === 0) gone(`Reader ${n}`);
  }
  pass();
  pass();
  assert.deepEqual(shown, ['one', 'Reader 1 and 499 others came in.']);
  assert.ok(isIdle());
});

test('an empty move is no notice', () => {
  const { queue, shown, isIdle } = started();
  queue.moves([], []);
  assert.deepEqual(shown, []);
  assert.ok(isIdle());
});

test('cleared: the line is empty, and what waited is not shown', () => {
  const { queue, came, shown, isIdle } = started();
  queue.text('one');
  came('Ada');
  queue.clear();
  assert.deepEqual(shown, ['one', '']);
  assert.ok(isIdle());
});
