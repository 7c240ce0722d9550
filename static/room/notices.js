// What is said on the side: who came and went, and that the session is about to close.

import { $, inSentence, sayIn, setText, timeOfDay } from '../lib/dom.js';
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
  const hide = () => { $('expiring').hidden = true; };
  room.on('expiring', ({ expires_at }) => {
    setText($('expiring-text'), `Nobody has done anything for a while, and this session closes at ${timeOfDay(expires_at)}.`);
    $('expiring').hidden = false;
  });
  // Somebody is active: the notice is taken back for all.
  room.on('update', ({ status }) => { if (status === 'active') hide(); });
  room.on('status', hide);
  $('still-here').onclick = () => {
    room.setActive();
    hide();
    $('count').focus();
  };
}
