// What is now, as tiles: made once, then only what has changed is touched.

import { $, el, setText, timeOfDay } from '../lib/dom.js';
import { bytes, short, span, words } from './numbers.js';

/** Fills a list of terms with tiles; `show` sets `[value, note]` by the name of the tile. */
export function tiles(into, names) {
  const made = new Map(names.map((name) => {
    const value = el('dd', { className: 'value' }, '–');
    const note = el('dd', { className: 'note' });
    return [name, { value, note, tile: el('div', {}, el('dt', {}, name), value, note) }];
  }));
  into.replaceChildren(...[...made.values()].map(({ tile }) => tile));
  return (name, value, note = '') => {
    setText(made.get(name).value, value);
    setText(made.get(name).note, note);
  };
}

const NOW = ['Connections', 'Rooms', 'People', 'User sessions', 'Beats a second', 'Waiting to be written', 'Refusals', 'Memory'];

export function nowTiles() {
  const show = tiles($('tiles'), NOW);
  return (stats, row) => {
    const { active, idle, reconnecting } = stats.participants;
    show('Connections', short(stats.connections), `and ${short(stats.streams)} streams`);
    show('Rooms', short(stats.rooms), `${short(stats.observers)} observing`);
    show('People', short(active + idle + reconnecting), `${short(active)} active, ${short(idle)} idle, ${short(reconnecting)} reconnecting`);
    show('User sessions', short(stats.user_sessions), 'connected');
    show('Beats a second', short(row.beats), `${short(stats.beats)} in all`);
    show('Waiting to be written', short(stats.flush.backlog), stats.flush.failures ? `${short(stats.flush.failures)} flushes failed` : 'no flush has failed');
    show('Refusals', short(Object.values(stats.refusals).reduce((all, count) => all + count, 0)), most(stats.refusals));
    show('Memory', bytes(stats.memory_bytes), `up for ${span((Date.parse(stats.time) - Date.parse(stats.started_at)) / 1000)}`);
    setText($('sweep'), sweepSaid(stats.sweep));
  };
}

/** The reasons that are named most. */
function most(counts) {
  const order = Object.entries(counts).filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
  return order.slice(0, 3).map(([code, count]) => `${words(code)} ${short(count)}`).join(', ') || 'since the start';
}

function sweepSaid(sweep) {
  if (!sweep) return 'No sweep has run yet.';
  const { at, failed, ...counts } = sweep;
  const done = Object.entries(counts).filter(([, count]) => count > 0).map(([policy, count]) => `${words(policy)} ${short(count)}`);
  const wrong = failed.length > 0 ? ` Not done, and tried again: ${failed.map(words).join(', ')}.` : '';
  return `The last sweep, at ${timeOfDay(at)}: ${done.join(', ') || 'nothing to do'}.${wrong}`;
}
