// The list of who is here: ordered by who came first, changed where something changed and nowhere else.

import { setText } from '../lib/dom.js';
import { keepPlace } from '../lib/keep-place.js';
import { personRow } from './person.js';

const EASE_MS = 260;
const EASE_AT_MOST = 12; // more than these at a time just appear and go
const FIND_FROM = 20; // where there are more, one may look for a name

const place = ({ joined_at, id }) => joined_at + id;

/** What letters are, whatever marks they bear and whatever case they are in. */
const plain = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLocaleLowerCase();

/** `list` is the <ul>, `field` the one to look for a name in; `room` tells who is "you" and what time it is. */
export function peopleList(list, { room, field, found, onRemove }) {
  const rows = new Map(); // participant id -> row
  const order = []; // the same rows, as they are shown
  let managing = false;
  let wanted = '';
  let timer;

  /** Where this place is, or would be. */
  function indexOf(key) {
    let low = 0;
    let high = order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order[middle].key < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function put(participant, eased) {
    const entry = rows.get(participant.id)
      ?? Object.assign(personRow({ isYou: (id) => id === room.you, onRemove }), { key: null });
    entry.update(participant, room.now());
    narrow(entry);
    const key = place(participant);
    if (entry.key === key) return;
    if (entry.key) order.splice(indexOf(entry.key), 1); // came in anew within one step
    entry.key = key;
    const index = indexOf(key);
    list.insertBefore(entry.row, order[index]?.row ?? null);
    order.splice(index, 0, entry);
    if (!rows.has(participant.id)) {
      rows.set(participant.id, entry);
      if (managing) entry.manage(true);
      if (eased && inSight(entry.row)) ease(entry.row, 'in');
    }
  }

  function drop(id, eased) {
    const entry = rows.get(id);
    if (!entry) return;
    rows.delete(id);
    const index = indexOf(entry.key);
    order.splice(index, 1);
    keepFocus(entry.row, index);
    if (!eased || !inSight(entry.row)) return entry.row.remove();
    entry.row.setAttribute('aria-hidden', 'true');
    entry.row.inert = true;
    ease(entry.row, 'out').finished.then(() => entry.row.remove(), () => entry.row.remove());
  }

  /** Who works through the list with the keyboard goes on with the next person. */
  function keepFocus(gone, index) {
    if (!gone.contains(document.activeElement)) return;
    const next = order.slice(index).find(isShown) ?? order.slice(0, index).findLast(isShown);
    (next?.row.querySelector('button') ?? list).focus();
  }

  const isShown = ({ row }) => !row.hidden;

  /** Shows a row if its name is among those that are looked for. */
  function narrow({ row, person }) {
    const hidden = wanted !== '' && !plain(person.name).includes(wanted);
    if (row.hidden !== hidden) row.hidden = hidden;
  }

  /** Offers to look for a name where there are many, and says how many were found. */
  function offerToFind() {
    field.hidden = order.length <= FIND_FROM && wanted === '';
    setText(found, wanted && `${order.filter(isShown).length} of ${order.length} found`);
  }

  field.oninput = () => {
    wanted = plain(field.value.trim());
    order.forEach(narrow);
    offerToFind();
  };

  /** What only time changes, while there is somebody for whom it does. */
  function tick() {
    clearTimeout(timer);
    const waiting = order.filter(({ person }) => person.status === 'reconnecting');
    for (const entry of waiting) entry.tick(room.now());
    if (waiting.length > 0) timer = setTimeout(tick, 1000);
  }

  return {
    apply({ cause, joins, updates, leaves }) {
      const eased = cause === 'diff' && joins.length + leaves.length <= EASE_AT_MOST && mayMove();
      keepPlace(list, () => {
        for (const { participant } of leaves) drop(participant.id, eased);
        for (const participant of [...joins, ...updates]) put(participant, eased);
      });
      offerToFind();
      tick();
    },
    manage(on) {
      managing = on;
      for (const entry of order) entry.manage(on);
    },
    clear() {
      clearTimeout(timer);
      rows.clear();
      order.length = 0;
      list.replaceChildren();
      field.value = wanted = '';
      offerToFind();
    },
  };
}

const stillness = matchMedia('(prefers-reduced-motion: reduce)');
const mayMove = () => !stillness.matches && document.visibilityState === 'visible';

function inSight(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

/** Rows grow and shrink, so that what is below them glides and does not jump. */
function ease(row, way) {
  const whole = { height: `${row.offsetHeight}px`, opacity: 1, overflow: 'clip' };
  const nothing = { ...whole, height: '0px', opacity: 0, paddingBlock: '0px' };
  return row.animate(way === 'in' ? [nothing, whole] : [whole, nothing], { duration: EASE_MS, easing: 'ease-out' });
}

/** How many there are, in words; in a room over the server's limit they are not listed. */
export function showCount(heading, note, { occupancy, participants }) {
  setText(heading, occupancy === 1 ? '1 person here' : `${occupancy} people here`);
  const unlisted = occupancy > participants.size;
  note.hidden = !unlisted;
  if (unlisted) setText(note, 'In a room as large as this one, people are counted and not listed.');
}
