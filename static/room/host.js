// What a host may do: rename, make and revoke links, put people out, close. Over HTTP, as who one is in the room.

import { $, askTwice, el, inSentence, sayIn, setText, timeOfDay } from '../lib/dom.js';
import { ask } from '../lib/http.js';
import { shared } from '../lib/kept.js';
import { removedPeople } from './removed.js';

const HOUR = 3600;

/**
 * `people` is the list, `onLink` gets a link that was just made, `onRevoked` the id of one that is no longer good;
 * `onSomeRevoked` is called where one was revoked whose id is not known.
 */
export function hostTools(room, { people, onLink, onRevoked, onSomeRevoked }) {
  const path = (rest = '') => `/v1/reading-sessions/${room.session.id}${rest}`;
  const isHost = () => room.participants.get(room.you)?.role === 'host';
  let open = false;

  /** Carries out a call, and says in `problem` what is wrong where it fails. */
  async function call(rest, options, problem = $('host-problem')) {
    sayIn(problem, '');
    try {
      return await ask(path(rest), { token: room.bearer, ...options });
    } catch (error) {
      sayIn(problem, error.message);
      return null;
    }
  }

  /** What was done by these tools is said in them: the line of the room belongs to the room. */
  const done = (text) => sayIn($('host-said'), text);

  // The name of the session

  $('rename').onsubmit = async (event) => {
    event.preventDefault();
    const session = await call('', { method: 'PATCH', body: { title: $('new-title').value.trim() || null } });
    if (session) done('The session has its new name.');
  };
  room.on('session', ({ session }) => {
    if (document.activeElement !== $('new-title')) $('new-title').value = session.title ?? '';
  });

  // Links

  async function listLinks() {
    const good = [];
    for (let cursor = ''; cursor !== null;) {
      const query = new URLSearchParams({ limit: 200, ...(cursor && { cursor }) });
      const links = await call(`/invites?${query}`, {}, $('links-problem')); // not asked for by the person: it clears no other problem
      if (!links) return;
      good.push(...links.items.filter(({ revoked_at }) => !revoked_at));
      cursor = links.next_cursor;
    }
    $('links').replaceChildren(...good.map(link));
    $('no-links').hidden = good.length > 0;
  }

  function link({ id, role, uses, max_uses, expires_at, created_at }) {
    const revoke = el('button', { type: 'button', className: 'plain small', aria: { label: `Revoke the link made at ${timeOfDay(created_at)}` } }, 'Revoke');
    askTwice(revoke, 'Really?', async () => {
      if (!(await call(`/invites/${id}`, { method: 'DELETE' }))) return;
      done('The link is revoked.');
      onRevoked(id);
      await listLinks();
      $('links-title').focus();
    });
    const times = uses === 0 ? 'not used yet' : uses === 1 ? 'used once' : `used ${uses} times`;
    const used = max_uses ? `${uses} of ${max_uses} uses` : times;
    const until = expires_at ? `, until ${timeOfDay(expires_at)}` : '';
    return el('li', {},
      el('span', {}, role === 'host' ? 'For hosts' : 'For guests', el('span', { className: 'quiet' }, ` · made ${timeOfDay(created_at)}, ${used}${until}`)),
      revoke);
  }

  $('make-link').onsubmit = async (event) => {
    event.preventDefault();
    const role = $('link-role').value;
    const uses = Number($('link-uses').value);
    const hours = Number($('link-hours').value);
    const body = { role, ...(uses && { max_uses: uses }), ...(hours && { expires_in_seconds: hours * HOUR }) };
    await makeLink(body);
  };

  async function makeLink(body) {
    const made = await call('/invites', { body });
    if (!made) return;
    if (made.role === 'guest') shared.set(room.session.id, made);
    onLink(made);
    if ($('host').open) await listLinks();
  }

  // People

  const manage = (on) => {
    $('manage').setAttribute('aria-pressed', String(on));
    setText($('manage'), on ? 'Done removing' : 'Remove people…');
    $('end-link-too').hidden = $('end-link-help').hidden = !on;
    $('end-link').checked = false;
    people.manage(on);
  };
  manage(false);
  $('manage').onclick = () => manage($('manage').getAttribute('aria-pressed') !== 'true');

  /** The room says that the person is gone. */
  async function remove(person) {
    const withLink = $('end-link').checked;
    if (!(await call(`/participants/${person.id}${withLink ? '?revoke_invite=true' : ''}`, { method: 'DELETE' }))) return;
    done(`${inSentence(person.name)} was removed${withLink ? ', and the link they came by is no longer good' : ''}.`);
    removed.add(person); // in a large room nobody says who has gone
    if (!withLink) return;
    onSomeRevoked();
    if ($('host').open) await listLinks();
  }

  const removed = removedPeople(room, async (person) => {
    if (!(await call(`/participants/${person.id}/readmit`, { method: 'POST' }))) return;
    removed.drop(person);
    done(`${inSentence(person.name)} may come in again.`);
  });

  // The end

  askTwice($('close'), 'Really close it for everyone?', () => call('/close', { method: 'POST' }));

  // Only for hosts

  function offer() {
    if (isHost() === open) return;
    open = isHost();
    $('host').hidden = !open;
    if (!open) return manage(false);
    $('new-title').value = room.session.title ?? '';
    if ($('host').open) listLinks();
  }
  $('host').ontoggle = () => { if ($('host').open && isHost()) listLinks(); };
  room.on('change', offer);

  return {
    makeLink,
    remove,
  };
}
