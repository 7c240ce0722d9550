// The table of reading sessions: searched and sorted by what is loaded; each opens to its people.

import { $, askTwice, el, inSentence, setText, timeOfDay } from '../lib/dom.js';

const PAGE = 50;
const ORDER = { title: (s) => (s.title ?? '').toLocaleLowerCase(), occupancy: (s) => s.occupancy, last_seen_at: (s) => s.last_seen_at, expires_at: (s) => s.closed_at ?? s.expires_at };

/** `call` asks the server as the service. */
export function sessionTable(call) {
  const body = $('sessions').tBodies[0];
  let rows = [];
  let cursor = null;
  let sort = { by: 'last_seen_at', down: true };

  async function tried(act) {
    setText($('sessions-problem'), '');
    try {
      return await act();
    } catch (error) {
      setText($('sessions-problem'), error.message);
      return undefined;
    }
  }

  const load = (more) => tried(async () => {
    const query = new URLSearchParams({ limit: PAGE, ...($('which').value && { active: $('which').value }), ...(more && { cursor }) });
    const page = await call(`/v1/reading-sessions?${query}`);
    const fresh = page.items.map(entry);
    rows = more ? [...rows, ...fresh] : fresh;
    cursor = page.next_cursor;
    $('more').hidden = !cursor;
    show();
  });

  function show() {
    const wanted = $('search').value.trim().toLocaleLowerCase();
    const value = ORDER[sort.by];
    const found = rows.filter(({ session: { id, title } }) => !wanted || id.includes(wanted) || (title ?? '').toLocaleLowerCase().includes(wanted));
    found.sort(({ session: a }, { session: b }) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (sort.down ? -1 : 1));
    body.replaceChildren(...found.flatMap((each) => each.rows()));
    $('none').hidden = found.length > 0;
    setText($('sessions-said'), `${found.length} of ${rows.length} loaded${cursor ? '; there are more' : ''}`);
    for (const head of $('sessions').tHead.querySelectorAll('[data-sort]')) {
      if (head.dataset.sort === sort.by) head.setAttribute('aria-sort', sort.down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    }
  }

  function entry(session) {
    const name = session.title ?? 'Reading session';
    const open = el('button', { type: 'button', className: 'open', aria: { expanded: 'false' }, title: session.id }, el('bdi', {}, name));
    const count = el('td', {}, `${session.occupancy} of ${session.max_participants}`);
    const end = el('td', { className: 'time' }, endOf(session));
    const act = el('td', { className: 'act' });
    const row = el('tr', { data: { id: session.id } }, el('td', {}, open), count, el('td', { className: 'time' }, timeOfDay(session.last_seen_at)), end, act);
    const into = el('td', { colSpan: 5 });
    const inside = el('tr', { className: 'inside', hidden: true }, into);

    if (session.is_active) {
      const close = el('button', { type: 'button', className: 'plain small danger', aria: { label: `Close ${inSentence(name)}` } }, 'Close');
      askTwice(close, 'Really?', () => tried(async () => {
        await call(`/v1/reading-sessions/${session.id}/close`, { method: 'POST' });
        // In its place, so that whoever works down the list goes on from there.
        Object.assign(session, { is_active: false, close_reason: 'admin', closed_at: new Date().toISOString(), occupancy: 0 });
        setText(count, `0 of ${session.max_participants}`);
        setText(end, endOf(session));
        close.remove();
        inside.hidden = true;
        open.setAttribute('aria-expanded', 'false');
        open.focus();
        setText($('sessions-said'), `${inSentence(name)} is closed.`);
      }));
      act.append(close);
    }

    const people = () => tried(async () => {
      const { items, occupancy } = await call(`/v1/reading-sessions/${session.id}/participants`);
      session.occupancy = occupancy;
      setText(count, `${occupancy} of ${session.max_participants}`);
      into.replaceChildren(items.length === 0
        ? el('p', { className: 'hint' }, 'Nobody is here.')
        : el('ul', { className: 'folk', aria: { label: `People in ${inSentence(name)}` } }, ...items.map(person)));
    });

    function person({ id, name: called, role, status, connections, last_seen_at }) {
      const about = [role, status, connections > 1 && `${connections} devices`, `last seen ${timeOfDay(last_seen_at)}`].filter(Boolean).join(' · ');
      const remove = el('button', { type: 'button', className: 'plain small danger', aria: { label: `Remove ${inSentence(called)}` } }, 'Remove');
      askTwice(remove, 'Really?', () => tried(async () => {
        await call(`/v1/reading-sessions/${session.id}/participants/${id}`, { method: 'DELETE' });
        setText($('sessions-said'), `${inSentence(called)} was removed.`);
        await people();
        open.focus();
      }));
      return el('li', {}, el('div', {}, el('bdi', {}, called), el('p', { className: 'detail' }, about)), session.is_active && remove);
    }

    open.onclick = async () => {
      const shown = open.getAttribute('aria-expanded') === 'true';
      if (!shown) await people();
      inside.hidden = shown;
      open.setAttribute('aria-expanded', String(!shown));
    };
    return { session, rows: () => [row, inside] };
  }

  $('search').oninput = show;
  $('which').onchange = () => load(false);
  $('reload').onclick = () => load(false);
  $('more').onclick = () => load(true);
  for (const head of $('sessions').tHead.querySelectorAll('[data-sort]')) {
    head.firstElementChild.onclick = () => {
      const by = head.dataset.sort;
      sort = { by, down: sort.by === by ? !sort.down : by !== 'title' };
      show();
    };
  }
  return { load: () => load(false), clear: () => { rows = []; body.replaceChildren(); } };
}

const endOf = ({ is_active, close_reason, closed_at, expires_at }) =>
  is_active ? timeOfDay(expires_at) : `closed ${timeOfDay(closed_at)} (${close_reason})`;
