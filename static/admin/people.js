// The people of a session that was opened in the table, as they are at this moment: the dashboard observes its room.

import { join } from '../client/lastseen.js';
import { askTwice, el, inSentence, setText, timeOfDay } from '../lib/dom.js';
import { followExpiry, inMinutes } from '../lib/expiring.js';
import { keepPlace } from '../lib/keep-place.js';

const QUALITY = { degraded: 'fair connection', poor: 'poor connection' };

/** What is said of somebody beside the name. Who is connected was seen now. */
function about({ role, status, quality, connections, joined_at, last_seen_at }) {
  const when = status === 'reconnecting' ? `last seen ${timeOfDay(last_seen_at)}` : `since ${timeOfDay(joined_at)}`;
  return [role, status, when, connections > 1 && `${connections} devices`, QUALITY[quality]].filter(Boolean).join(' · ');
}

function personRow(first, remove) {
  const detail = el('p', { className: 'detail' });
  const button = remove && el('button', { type: 'button', className: 'plain small danger', aria: { label: `Remove ${inSentence(first.name)}` } }, 'Remove');
  if (button) askTwice(button, 'Really?', () => remove(first));
  const name = el('bdi', {}, first.name);
  const row = el('li', {}, el('div', {}, name, detail), button);
  const update = (person) => {
    setText(name, person.name);
    setText(detail, about(person));
  };
  update(first);
  return { row, update };
}

function frame(into, name) {
  const note = el('p', { className: 'hint' });
  const list = el('ul', { role: 'list', className: 'folk', aria: { label: `People in ${inSentence(name)}` } });
  into.replaceChildren(note, list);
  return { note, list };
}

/** Those of a session that is over, as they were left. */
export function showPast(into, name, people) {
  const { note, list } = frame(into, name);
  setText(note, people.length === 0 ? 'Nobody is here.' : '');
  list.replaceChildren(...people.map((person) => personRow(person).row));
}

/**
 * Those of a session that is open, until what is given back is called. `remove` removes a person, `onCount` gets
 * the number of people, `onClosed` the reason when the room has ended; `home` takes the focus of a row that goes.
 */
export function showLive(into, name, { session, token, home, remove, onCount, onClosed }) {
  const { note, list } = frame(into, name);
  const rows = new Map();
  const room = join({ session: session.id, token });
  let expiring = '';

  function showNote() {
    const unlisted = room.occupancy > rows.size;
    const empty = rows.size === 0 && 'Nobody is here.';
    const text = unlisted ? 'In a room as large as this one, people are counted and not listed.' : empty;
    setText(note, [text, expiring].filter(Boolean).join(' '));
  }

  function put(person) {
    const known = rows.get(person.id);
    if (known) return known.update(person);
    const made = personRow(person, remove);
    rows.set(person.id, made);
    list.append(made.row);
  }

  function drop({ id }) {
    const { row } = rows.get(id);
    const next = row.nextElementSibling ?? row.previousElementSibling;
    const held = row.contains(document.activeElement);
    rows.delete(id);
    row.remove();
    if (held) (next?.querySelector('button') ?? home).focus();
  }

  room.on('change', ({ joins, updates, leaves }) => {
    keepPlace(list, () => {
      for (const { participant } of leaves) drop(participant);
      for (const person of [...joins, ...updates]) put(person);
    });
    showNote();
    onCount(room.occupancy);
  });
  followExpiry(room, (left, end) => {
    expiring = left === null ? '' : inMinutes(left, end);
    if (room.status === 'connected') showNote();
  });
  room.on('closed', ({ error, message, reason }) => {
    if (error === 'session_closed') onClosed(reason);
    else if (reason !== 'left') setText(note, message || 'The connection was refused.');
  });
  return () => room.leave();
}
