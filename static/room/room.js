// The reading room: the door, who is here, and the way out.

import { join, remembered } from '../client/lastseen.js';
import { $, el, ready, sayIn, setText, showOnly } from '../lib/dom.js';
import '../lib/header.js';
import { showInviteLink } from '../lib/invite-link.js';
import { inBrowser, inTab, NAME, shared, TOKEN } from '../lib/kept.js';
import { server } from '../lib/server.js';
import { hideConnection, showConnection } from './connection.js';
import { ending } from './endings.js';
import { aboutRoom, lookUp, nameForm } from './entrance.js';
import { isDead, showWayOn, stay } from './homeward.js';
import { hostTools } from './host.js';
import { announce, expiringNotice, hush } from './notices.js';
import { peopleList, showCount } from './people.js';
import { sitRing } from './sit.js';
import { forTesters, held } from './testers.js';

const VIEWS = ['waiting', 'ask', 'room', 'ended'];
const link = location.href;
const tokenOf = (url) => /\/join\/([^/]+)/.exec(new URL(url).pathname)?.[1] ?? '';
const invite = tokenOf(link);
const wide = matchMedia('(min-width: 60rem)');

const askName = nameForm(enter);
const hold = server.dev ? forTesters() : {};
let room = null;
let title = '';
let offered = null; // the id of the link that the panel shows, where it is known

function setTitle(next) {
  title = next || '';
  setText($('title'), title || 'Reading session');
}

/** The tab says how many are here, too. */
function setTabTitle() {
  const count = room && room.status !== 'closed' ? `(${room.occupancy}) ` : '';
  document.title = `${count}${title || 'Reading session'} · lastseen`;
}

// Before the room

async function start() {
  stay();
  showOnly('waiting', VIEWS);
  if (inTab.get(TOKEN)) return enter(inBrowser.get(NAME));
  if (await remembered(link)) return enter(); // by the name that they have: another tab may know another one
  try {
    const { session } = await lookUp(invite);
    setTitle(session.title);
    setTabTitle();
    setText($('about'), aboutRoom(session));
    door();
  } catch ({ code, message, status }) {
    ended({ error: code, message, status });
  }
}

function door(problem) {
  hideConnection();
  showOnly('ask', VIEWS);
  askName(problem);
}

// In the room

function enter(name) {
  showOnly('waiting', VIEWS);
  const here = join(link, { name: name ?? undefined, token: inTab.get(TOKEN) ?? undefined, ...hold });
  room = here;
  held(here);
  const people = peopleList($('people'), { room, field: $('find'), found: $('found'), onRemove: (person) => host.remove(person) });
  const host = hostTools(room, { people, onLink: made, onRevoked: (id) => revoked(id, host), onSomeRevoked: () => lookAgain(host) });
  sitRing(room);
  expiringNotice(room);
  room.on('status', showConnection);
  room.on('status', (status) => { if (status === 'connected') entered(host); });
  room.on('change', (change) => {
    people.apply(change);
    showCount($('count'), $('count-note'), room);
    announce(change, room.you);
    setTabTitle();
  });
  room.on('session', showTitle);
  room.on('closed', (cause) => {
    people.clear();
    closed(cause);
  });
  showConnection('connecting');
}

function showTitle() {
  setTitle(room.session.title);
  setTabTitle();
}

function entered(host) {
  showTitle();
  if (!$('room').hidden) return;
  window.scrollTo(0, 0);
  for (const panel of [$('invite'), $('host')]) panel.open = wide.matches;
  showOnly('room', VIEWS);
  offerLink(host);
  $('count').focus({ preventScroll: true });
}

/** A host hands on what it was given to hand on; everybody else the link by which they came. */
function offerLink(host) {
  const isHost = room.participants.get(room.you)?.role === 'host';
  const own = shared.get(room.session.id);
  offered = own?.id ?? null;
  const url = own?.url ?? (isHost && !inTab.get(TOKEN) ? null : link);
  if (url) showLink(url);
  else offerToMakeLink(host);
}

function offerToMakeLink(host) {
  const make = el('button', { type: 'button' }, 'Make an invite link');
  make.addEventListener('click', () => host.makeLink({ role: 'guest' }));
  $('invite-link').replaceChildren(make);
}

function showLink(url) {
  showInviteLink($('invite-link'), url, { title: () => title, say: (text) => sayIn($('invite-said'), text) });
}

/** A link that leads nowhere is not handed on. */
function revoked(id, host) {
  if (shared.get(room.session.id)?.id === id) shared.set(room.session.id, null);
  if (offered !== id) return;
  offered = null;
  sayIn($('invite-said'), '');
  offerToMakeLink(host);
}

/** Some link was revoked, and it is not known which: perhaps the one that is handed on. */
async function lookAgain(host) {
  const url = $('invite-link').querySelector('input')?.value;
  if (!url) return;
  const dead = await lookUp(tokenOf(url)).then(() => false, ({ status }) => status === 404 || status === 410);
  if (!dead || $('invite-link').querySelector('input')?.value !== url) return;
  shared.set(room.session.id, null);
  offered = null;
  offerToMakeLink(host);
}

/** A link that was just made is shown this once. */
function made({ id, url }) {
  offered = id;
  showLink(url);
  sayIn($('invite-said'), 'The link is made.');
  showInvite();
}

function showInvite() {
  $('invite').open = true;
  $('invite').scrollIntoView({ block: 'nearest' });
}

// On a narrow page it is below the people, however many they are.
$('to-invite').addEventListener('click', () => {
  showInvite();
  $('invite').querySelector('summary').focus({ preventScroll: true });
});
$('leave').addEventListener('click', () => room.leave());

// After it

function closed(cause) {
  hush();
  if (cause.error === 'unauthenticated' || cause.error === 'token_expired') inTab.set(TOKEN, null);
  if (cause.error === 'invalid_request') return door(cause.message); // most of all the name
  ended(cause);
}

function ended(cause) {
  const { icon, title: heading, text, again } = ending(cause);
  hideConnection();
  setTabTitle();
  $('ended-icon').setAttribute('href', `#icon-${icon}`);
  setText($('ended-title'), heading);
  setText($('ended-text'), text);
  $('again').hidden = !again;
  setText($('again'), again ?? '');
  $('ended').dataset.kind = icon;
  showOnly('ended', VIEWS);
  $('ended-title').focus();
  const wasIn = Boolean(room?.session);
  const mayOpen = server.guest_hosts !== false || Boolean(inTab.get(TOKEN));
  showWayOn(cause.error, { mayOpen, byItself: isDead(cause.error) && !wasIn });
}

$('again').addEventListener('click', start);

ready();
start();
