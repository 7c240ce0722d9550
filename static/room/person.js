// One person in the list: made once, then only what has changed is touched.

import { askTwice, el, inSentence, setText, timeOfDay } from '../lib/dom.js';

const QUALITY = { good: 'Good connection', degraded: 'Fair connection', poor: 'Poor connection' };

/** A hue that is the person's own in every browser, for as long as the id is. */
export function hueOf(id) {
  let hash = 2166136261;
  for (let n = 0; n < id.length; n++) hash = Math.imul(hash ^ id.charCodeAt(n), 16777619);
  return (hash >>> 0) % 360;
}

const segmenter = typeof Intl.Segmenter === 'function' && new Intl.Segmenter(undefined, { granularity: 'grapheme' });
const firstSign = (word) => (segmenter ? segmenter.segment(word)[Symbol.iterator]().next().value?.segment : [...word][0]) ?? '';

/** The first sign of the first and of the last word; a sign may be made of several characters, as many emoji are. */
export function initials(name) {
  const words = name.replace(/[^\p{L}\p{N}\p{M}\p{S}\p{Zs}\u200d\ufe0f]/gu, ' ').trim().split(/\s+/);
  const signs = words.length > 1 ? [words[0], words.at(-1)] : words;
  const found = signs.map(firstSign);
  const letters = found.every((sign) => /^[\p{L}\p{N}]/u.test(sign));
  return (letters ? found.join('') : found[0]).toLocaleUpperCase() || '?';
}

export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
}

function describe({ status, joined_at, last_seen_at, connections }, now) {
  const words = {
    active: `Here since ${timeOfDay(joined_at)}`,
    idle: `Idle · here since ${timeOfDay(joined_at)}`,
    reconnecting: `Reconnecting · last seen ${ago(now - Date.parse(last_seen_at))}`,
  };
  return [words[status], connections > 1 && `${connections} devices`].filter(Boolean).join(' · ');
}

/** A row. `update` makes it show this participant; `tick` renews what only time changes. */
export function personRow({ isYou, onRemove }) {
  const sign = el('span', { className: 'initials' });
  const avatar = el('span', { className: 'avatar', aria: { hidden: 'true' } }, sign, el('span', { className: 'badge' }));
  const name = el('bdi');
  const you = el('span', { className: 'tag you', hidden: true }, 'you');
  const host = el('span', { className: 'tag', hidden: true }, 'host');
  const detail = el('p', { className: 'detail' });
  const quality = el('span', { className: 'visually-hidden' });
  const signal = el('span', { className: 'signal' }, el('i'), el('i'), el('i'), quality);
  const row = el('li', { className: 'person' },
    avatar,
    el('div', { className: 'who' }, el('p', { className: 'name' }, name, you, host), detail),
    signal);
  let person;
  let remove;

  const tick = (now) => setText(detail, describe(person, now));

  function update(next, now) {
    person = next;
    if (row.dataset.id !== person.id) {
      row.dataset.id = person.id;
      row.style.setProperty('--hue', hueOf(person.id));
    }
    if (name.textContent !== person.name) {
      name.textContent = person.name;
      sign.textContent = initials(person.name);
    }
    you.hidden = !isYou(person.id);
    host.hidden = person.role !== 'host';
    row.dataset.status = person.status;
    signal.dataset.quality = person.quality ?? 'unknown';
    setText(quality, QUALITY[person.quality] ?? '');
    tick(now);
  }

  /** Whether the row offers to put the person out. */
  function manage(on) {
    const wanted = on && !isYou(person.id);
    if (!wanted) remove?.remove();
    if (!wanted || remove?.isConnected) return;
    remove = el('button', { type: 'button', className: 'plain small remove', aria: { label: `Remove ${inSentence(person.name)}` } }, 'Remove');
    askTwice(remove, 'Really?', () => onRemove(person));
    row.append(remove);
  }

  return { row, update, tick, manage, get person() { return person; } };
}
