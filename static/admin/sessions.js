// The table of reading sessions: searched and sorted by what is loaded, and looked up again while it is shown.

import { $, sayIn, setText } from '../lib/dom.js';
import { sessionEntry } from './session.js';

const PAGE = 50;
const LARGEST_PAGE = 200;
const AGAIN_MS = 5_000;
const ORDER = { title: (s) => (s.title ?? '').toLocaleLowerCase(), occupancy: (s) => s.occupancy, last_seen_at: (s) => s.last_seen_at, expires_at: (s) => s.closed_at ?? s.expires_at };

/** `call` asks the server as the service; `token` gives what shows that. */
export function sessionTable(call, token) {
  const body = $('sessions').tBodies[0];
  let rows = [];
  let cursor = null;
  let timer;
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
    const known = new Map(rows.map((each) => [each.session.id, each]));
    const found = page.items.map((session) => known.get(session.id)?.update(session) ?? entry(session));
    if (!more) for (const each of rows) if (!found.includes(each)) each.end();
    rows = [...new Set([...(more ? rows : []), ...found])];
    cursor = page.next_cursor;
    $('more').hidden = !cursor;
    show();
  });

  /** Renews what the rows say, each in its place: whoever works down the list goes on from there. */
  const renew = async () => {
    const { items } = await call(`/v1/reading-sessions?limit=${LARGEST_PAGE}`).catch(() => ({ items: [] }));
    const fresh = new Map(items.map((session) => [session.id, session]));
    for (const each of rows) if (fresh.has(each.session.id)) each.update(fresh.get(each.session.id));
  };

  function keepRenewing() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (document.visibilityState === 'visible') await renew();
      if (timer) keepRenewing();
    }, AGAIN_MS);
  }

  function show() {
    const wanted = $('search').value.trim().toLocaleLowerCase();
    const value = ORDER[sort.by];
    const found = rows.filter(({ session: { id, title } }) => !wanted || id.includes(wanted) || (title ?? '').toLocaleLowerCase().includes(wanted));
    found.sort(({ session: a }, { session: b }) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (sort.down ? -1 : 1));
    body.replaceChildren(...found.flatMap((each) => each.rows()));
    $('none').hidden = found.length > 0;
    setText($('sessions-count'), `${found.length} of ${rows.length} loaded${cursor ? '; there are more' : ''}`);
    for (const head of $('sessions').tHead.querySelectorAll('[data-sort]')) {
      if (head.dataset.sort === sort.by) head.setAttribute('aria-sort', sort.down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    }
  }

  const entry = (session) => sessionEntry(session, { call, token, tried, say: (text) => sayIn($('sessions-said'), text) });

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
  return {
    load() {
      keepRenewing();
      return load(false);
    },
    clear() {
      clearTimeout(timer);
      timer = undefined;
      for (const each of rows) each.end();
      rows = [];
      body.replaceChildren();
    },
  };
}
