// The reading room: asks for a name, joins, and shows who is here.

import { join, remembered } from './client/lastseen.js';
import { $, ask, inBrowser, inTab, NAME, showOnly, TOKEN } from './page.js';

const VIEWS = ['ask', 'room', 'ended'];
const link = location.href;
const invite = /\/join\/([^/]+)/.exec(location.pathname)?.[1];

let room = null;
const rows = new Map(); // participant id -> <li>

const say = (text) => {
  $('status').textContent = text;
};

// Before the room

async function start() {
  if (remembered(link) || inTab.get(TOKEN)) return enter(inBrowser.get(NAME));
  try {
    const { session } = await ask(`/v1/invites/${invite}`);
    setTitle(session);
    const { occupancy } = session;
    $('about').textContent =
      occupancy === 0 ? 'Nobody is here yet.' : occupancy === 1 ? 'One person is here.' : `${occupancy} people are here.`;
    askName();
  } catch (error) {
    const dead = error.status === 404 || error.status === 410;
    ended(error.message, { again: !dead && 'Try again' });
  }
}

function setTitle({ title }) {
  $('title').textContent = title || 'Reading session';
  document.title = `${title || 'Reading session'} · lastseen`;
}

function askName(problem = '') {
  say(problem);
  showOnly('ask', VIEWS);
  $('name').value = inBrowser.get(NAME) ?? '';
  $('name').focus();
}

$('name').addEventListener('input', () => {
  const name = $('name').value.trim();
  const problem =
    !name ? 'Please give a name.'
    : [...name].length > 80 ? 'A name has at most 80 characters.'
    : /\p{Cc}/u.test(name) ? 'A name has no control characters.'
    : '';
  $('name').setCustomValidity(problem);
});

$('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = $('name').value.trim();
  if (!name) return;
  inBrowser.set(NAME, name);
  enter(name);
});

// In the room

function enter(name) {
  say('Connecting…');
  showOnly(null, VIEWS);
  room = join(link, { name: name ?? undefined, token: inTab.get(TOKEN) ?? undefined });
  room.on('status', showStatus);
  room.on('change', showPeople);
  room.on('change', announce);
  room.on('update', ({ status }) => {
    if (status === 'active') $('expiring').hidden = true; // somebody is: the notice is taken back
  });
  room.on('expiring', showExpiring);
  room.on('closed', showClosed);
}

function showStatus(status, cause) {
  if (status === 'connected') {
    say('Connected');
    $('expiring').hidden = true;
    setTitle(room.session);
    if ($('room').hidden) {
      showOnly('room', VIEWS);
      $('count').focus();
    }
  } else if (status === 'reconnecting') {
    say(`Reconnecting… ${cause.message}`);
  }
}

const QUALITY = { good: 'good connection', degraded: 'fair connection', poor: 'poor connection' };

function describe({ id, role, status, quality, connections }) {
  return [
    id === room.you && 'you',
    role,
    status,
    status !== 'reconnecting' && QUALITY[quality],
    connections > 1 && `${connections} connections`,
  ].filter(Boolean).join(' · ');
}

function showPeople() {
  const { participants, occupancy } = room;
  const others = occupancy - participants.size;
  $('count').textContent = `Here now: ${occupancy}`;
  for (const [id, row] of rows) {
    if (participants.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
  const inOrder = [...participants.values()].sort(
    (a, b) => a.joined_at.localeCompare(b.joined_at) || a.id.localeCompare(b.id),
  );
  let next = $('people').firstElementChild;
  for (const participant of inOrder) {
    const row = rows.get(participant.id) ?? newRow(participant.id);
    const [mark, name, detail] = row.children;
    mark.className = `mark ${participant.status}`;
    setText(name, participant.name);
    setText(detail, describe(participant));
    if (row === next) next = row.nextElementSibling;
    else $('people').insertBefore(row, next);
  }
  if (others > 0 && participants.size < 2) $('count').textContent += ' (too many to list)';
}

function newRow(id) {
  const row = document.createElement('li');
  row.append(document.createElement('span'), document.createElement('bdi'), document.createElement('span'));
  row.lastChild.className = 'quiet';
  rows.set(id, row);
  return row;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says who came and went just now; a snapshot tells of nobody's coming. */
function announce({ cause, joins, leaves }) {
  if (cause !== 'diff') return;
  const people = (list, one, many) =>
    list.length > 3 ? `${list.length} people ${many}.` : list.map(({ name }) => `\u2068${name}\u2069 ${one}.`).join(' ');
  const news = [
    people(joins.filter(({ id }) => id !== room.you), 'came in', 'came in'),
    people(leaves.map(({ participant }) => participant), 'is gone', 'are gone'),
  ].filter(Boolean).join(' ');
  if (news) $('arrivals').textContent = news;
}

function showExpiring({ expires_at }) {
  const time = new Date(expires_at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  $('expiring-text').textContent = `Nobody has done anything for a while. This session closes at ${time}.`;
  $('expiring').hidden = false;
}

$('still-here').addEventListener('click', () => {
  room.setActive();
  $('expiring').hidden = true;
  $('count').focus();
});

$('leave').addEventListener('click', () => room.leave());

// After it

const DEAD = ['session_closed', 'session_not_found', 'invite_not_found', 'invite_expired', 'removed'];

function showClosed({ error, message, reason }) {
  $('expiring').hidden = true;
  for (const row of rows.values()) row.remove();
  rows.clear();
  $('arrivals').textContent = '';
  if (error === 'unauthenticated' || error === 'token_expired') inTab.set(TOKEN, null);
  if (error === 'invalid_request') return askName(message); // most of all the name
  if (reason === 'left') ended('You have left.', { again: 'Come back' });
  else ended(message || 'The connection was closed.', { again: !DEAD.includes(error) && 'Try again' });
}

function ended(text, { again }) {
  say('');
  $('ended-text').textContent = text;
  $('again').hidden = !again;
  $('again').textContent = again || '';
  showOnly('ended', VIEWS);
  $('ended-text').focus();
}

$('again').addEventListener('click', () => {
  say('Looking up the invitation…');
  showOnly(null, VIEWS);
  start();
});

start();
