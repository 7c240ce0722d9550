// One session in the table: its row, and the people that it opens to.

import { askTwice, el, inSentence, setText, timeOfDay } from '../lib/dom.js';
import { showLive, showPast } from './people.js';

const endOf = ({ is_active, close_reason, closed_at, expires_at }) =>
  is_active ? timeOfDay(expires_at) : `closed ${timeOfDay(closed_at)} (${close_reason})`;

/**
 * `call` asks the server as the service, as which `token` shows one; `tried` carries something out and says what is
 * wrong where it fails, `say` what was done.
 */
export function sessionEntry(session, { call, token, tried, say }) {
  const name = el('bdi');
  const open = el('button', { type: 'button', className: 'open', aria: { expanded: 'false' }, title: session.id }, name);
  const count = el('td');
  const seen = el('td', { className: 'time' });
  const end = el('td', { className: 'time' });
  const act = el('td', { className: 'act' });
  const row = el('tr', { data: { id: session.id } }, el('td', {}, open), count, seen, end, act);
  const into = el('td', { colSpan: 5 });
  const inside = el('tr', { className: 'inside', hidden: true }, into);
  let stopWatching = () => {};

  const titled = () => session.title ?? 'Reading session';
  const path = (rest) => `/v1/reading-sessions/${session.id}${rest}`;

  const close = el('button', { type: 'button', className: 'plain small danger' }, 'Close');
  askTwice(close, 'Really?', () => tried(async () => {
    await call(path('/close'), { method: 'POST' });
    closed('admin');
    open.focus();
    say(`${inSentence(titled())} is closed.`);
  }));

  function show() {
    setText(name, titled());
    setText(count, `${session.occupancy} of ${session.max_participants}`);
    setText(seen, timeOfDay(session.last_seen_at));
    setText(end, endOf(session));
    close.setAttribute('aria-label', `Close ${inSentence(titled())}`);
    if (!session.is_active) close.remove();
    else if (!close.isConnected) act.append(close);
  }

  /** In its place, so that whoever works down the list goes on from there. */
  function closed(reason) {
    stopWatching();
    const held = inside.contains(document.activeElement) || close === document.activeElement;
    inside.hidden = true;
    open.setAttribute('aria-expanded', 'false');
    Object.assign(session, { is_active: false, close_reason: reason, closed_at: new Date().toISOString(), occupancy: 0 });
    show();
    if (held) open.focus();
  }

  async function remove({ id, name: called }) {
    await tried(async () => {
      await call(path(`/participants/${id}`), { method: 'DELETE' });
      say(`${inSentence(called)} was removed.`);
    });
  }

  open.onclick = () => tried(async () => {
    const opens = inside.hidden;
    stopWatching();
    stopWatching = () => {};
    inside.hidden = !opens;
    open.setAttribute('aria-expanded', String(opens));
    if (!opens) return;
    if (!session.is_active) return showPast(into, titled(), (await call(path('/participants'))).items);
    stopWatching = showLive(into, titled(), {
      session,
      token: token(),
      home: open,
      remove,
      onClosed: closed,
      onCount(occupancy) {
        session.occupancy = occupancy;
        show();
      },
    });
  });

  show();
  const each = {
    get session() { return session; },
    rows: () => [row, inside],
    end: () => stopWatching(),
    /** Shows what is known of it by now. */
    update(next) {
      session = next;
      if (!session.is_active && !inside.hidden) stopWatching();
      show();
      return each;
    },
  };
  return each;
}
