// What is said on the side: who came and went, and that the session is about to close.

import { $, inSentence, setText, timeOfDay } from '../lib/dom.js';

const AT_MOST = 3; // more names than these at a time are a number

/** Says who came and went just now; a snapshot tells of nobody's coming. */
export function announce({ cause, joins, leaves }, you) {
  if (cause !== 'diff') return;
  const people = (list, one, many) =>
    list.length > AT_MOST ? `${list.length} people ${many}.` : list.map(({ name }) => `${inSentence(name)} ${one}.`).join(' ');
  const news = [
    people(joins.filter(({ id }) => id !== you), 'came in', 'came in'),
    people(leaves.map(({ participant }) => participant), 'is gone', 'are gone'),
  ].filter(Boolean).join(' ');
  if (news) say(news);
}

export const say = (text) => setText($('news'), text);

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
