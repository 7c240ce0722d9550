// Why the server refused: each reason, with how often it was in the last hour and since the server's start.

import { $, el } from '../lib/dom.js';
import { short, words } from './numbers.js';

let shown;

/** `lately` and `all` are counts by reason. */
export function reasons(lately, all) {
  const now = JSON.stringify([lately, all]);
  if (shown === now) return;
  shown = now;
  const rows = Object.entries(all).map(([code, count]) => [code, lately[code] ?? 0, count]);
  rows.sort(([, a, all], [, b, total]) => b - a || total - all);
  const most = Math.max(1, ...rows.map(([, count]) => count));
  $('reasons').replaceChildren(...rows.map(([code, count, total]) => {
    const bar = el('i', { aria: { hidden: 'true' } });
    bar.style.setProperty('--share', (100 * count) / most);
    return el('div', {},
      el('dt', {}, words(code)),
      el('dd', {}, el('b', {}, short(count)), el('span', { className: 'quiet' }, ` of ${short(total)}`)),
      bar);
  }));
  $('no-reasons').hidden = rows.length > 0;
}
