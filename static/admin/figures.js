// What the database holds now, and what operators ask about the last days.

import { $, el, setText } from '../lib/dom.js';
import { short, span, words } from './numbers.js';
import { tiles } from './tiles.js';

const SYSTEMS = { reading_sessions: 'Reading sessions', check_ins: 'Check-ins', sits: 'Sits', simulators: 'Simulators' };
const DAYS = ['Sessions', 'Typical length', 'Average length', 'People in one', 'Users', 'Back the next day', 'Back within a week'];
const AGAIN_MS = 15_000;

export function figures(call) {
  const show = tiles($('days-tiles'), DAYS);
  let timer;

  async function tried(problem, act) {
    try {
      await act();
      setText(problem, '');
    } catch (error) {
      setText(problem, error.message);
    }
  }

  const stored = () => tried($('systems-problem'), async () => {
    clearTimeout(timer);
    const { stored: now } = await call('/v1/admin/stats');
    const platforms = Object.entries(now.user_sessions).map(([platform, counts]) => counted(`User sessions · ${platform}`, counts));
    const systems = Object.entries(SYSTEMS).map(([key, name]) => counted(name, now[key]));
    if (platforms.length === 0) platforms.push(counted('User sessions', {}));
    $('systems').replaceChildren(...systems, ...platforms);
  }).finally(() => { timer = setTimeout(stored, AGAIN_MS); });

  const days = () => tried($('days-problem'), async () => {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const query = new URLSearchParams({ days: $('days').value, ...(zone && { time_zone: zone }) });
    const { sessions, peak_hours: hours, returning_users: users, time_zone } = await call(`/v1/admin/analytics?${query}`);
    show('Sessions', short(sessions.count), `opened in ${$('days').value} days`);
    show('Typical length', span(sessions.median_seconds), 'the median');
    show('Average length', span(sessions.average_seconds));
    show('People in one', short(sessions.average_participants), 'on average');
    show('Users', short(users.users), 'who came');
    show('Back the next day', share(users.next_day_rate), `${short(users.next_day)} users`);
    show('Back within a week', share(users.within_seven_days_rate), `${short(users.within_seven_days)} users`);
    setText($('hours-title'), `When sessions are opened, by the hour of the day (${time_zone})`);
    picture(hours);
  });

  $('days').onchange = days;
  return {
    load: () => Promise.all([stored(), days()]),
    stop: () => clearTimeout(timer),
  };
}

function counted(name, counts) {
  const rows = Object.entries(counts).flatMap(([status, rows]) => [el('dt', {}, words(status.toLowerCase())), el('dd', {}, short(rows))]);
  return el('div', {}, el('h3', {}, name), rows.length > 0 ? el('dl', {}, ...rows) : el('p', { className: 'hint' }, 'None.'));
}

const share = (rate) => (rate == null ? '–' : `${Math.round(100 * rate)} %`);

/** A bar an hour; in words for those who do not see it. */
function picture(hours) {
  const most = Math.max(1, ...hours);
  $('hours').replaceChildren(...hours.map((count, hour) => {
    const bar = el('i', { title: `${count} from ${hour}:00` });
    bar.style.setProperty('--share', (88 * count) / most);
    const label = el('span', { aria: { hidden: 'true' } }, String(hour));
    return el('li', {}, bar, label, el('em', { className: 'visually-hidden' }, `${hour}:00, ${count} sessions`));
  }));
}
