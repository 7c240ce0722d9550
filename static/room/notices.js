// What is said on the side: who came and went, and that the session is about to close.

import { clock } from '../lib/countdown.js';
import { $, inSentence, sayIn, setText } from '../lib/dom.js';
import { followExpiry, inMinutes } from '../lib/expiring.js';
import { noticeQueue } from './notice-queue.js';

const queue = noticeQueue((text) => sayIn($('news'), text));

/** Says who came and went just now; a snapshot tells of nobody's coming. */
export function announce({ cause, joins, leaves }, you) {
  if (cause !== 'diff') return;
  const called = ({ id, name }) => ({ id, name: inSentence(name) });
  queue.moves(
    joins.filter(({ id }) => id !== you).map(called),
    leaves.map(({ participant }) => called(participant)),
  );
}

/** Says it after what is being said already. */
export const say = queue.text;

export const hush = queue.clear;

/** The notice that nobody did anything for a while, with its one button. */
export function expiringNotice(room) {
  const hide = followExpiry(room, (left, end) => {
    $('expiring').hidden = left === null;
    setText($('expiring-text'), left === null ? '' : `Nobody has done anything for a while. ${inMinutes(left, end)}`);
    setText($('expiring-left'), left > 0 ? clock(Math.round(left / 1000)) : '');
  });
  $('still-here').onclick = () => {
    room.setActive();
    hide();
    $('count').focus();
  };
}
