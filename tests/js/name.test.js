// The names that the room's page lets in: those of the server.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { nameProblem } from '../../static/room/name.js';

test('of a name something can be seen', () => {
  for (const name of ['\u200b', '\u2060\ufeff', '\u3164', '\u115f\u1160', '\u2800', '\u00ad', '\u{e0041}', '\u202e', '\u180e\u034f']) {
    assert.equal(nameProblem(name), 'A name has a character that can be seen.', JSON.stringify(name));
  }
  for (const name of ['Ada', '👩\u200d💻', '❤\ufe0f', 'نام\u200cها', 'e\u0301', '-']) {
    assert.equal(nameProblem(name), '', name);
  }
});

test('a name has 1 to 80 characters and no control characters', () => {
  assert.equal(nameProblem('🂡'.repeat(80)), '');
  for (const name of ['', 'x'.repeat(81), 'a\u0007b']) assert.notEqual(nameProblem(name), '');
});
