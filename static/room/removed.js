// Those whom a host has removed, and the way back in. Only for people with an account: a guest comes back as somebody new.

import { $, el, inSentence } from '../lib/dom.js';

/** `readmit` lets a person in again. What other hosts do is seen, too. */
export function removedPeople(room, readmit) {
  const rows = new Map(); // participant id -> row

  function show() {
    $('removed-people').replaceChildren(...rows.values());
    $('removed').hidden = rows.size === 0;
  }

  function add(person) {
    if (!person.user_id || rows.has(person.id)) return;
    const again = el('button', { type: 'button', className: 'plain small', aria: { label: `Let ${inSentence(person.name)} in again` } }, 'Let in again');
    again.onclick = () => readmit(person);
    rows.set(person.id, el('li', {}, el('bdi', {}, person.name), again));
    show();
  }

  /** Whoever works down the list goes on with the next one. */
  function drop({ id }) {
    const row = rows.get(id);
    if (!row) return;
    const held = row.contains(document.activeElement);
    const next = row.nextElementSibling ?? row.previousElementSibling;
    rows.delete(id);
    show();
    if (held) (next?.querySelector('button') ?? $('manage')).focus();
  }

  room.on('leave', (person, reason) => { if (reason === 'removed') add(person); });
  room.on('join', drop);
  show();
  return { add, drop };
}
