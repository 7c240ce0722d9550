// The dashboard: the door, and what is behind it.

import { $, ready, setText, showOnly, timeOfDay } from '../lib/dom.js';
import '../lib/header.js';
import { ask } from '../lib/http.js';
import { inTab } from '../lib/kept.js';
import { charts } from './charts.js';
import { hideConnection, showConnection } from './connection.js';
import { figures } from './figures.js';
import { history } from './history.js';
import { follow } from './live.js';
import { reasons } from './reasons.js';
import { sessionTable } from './sessions.js';
import { nowTiles } from './tiles.js';

const TOKEN = 'lastseen:service';
const VIEWS = ['door', 'dashboard'];

let token = inTab.get(TOKEN);
let stop = () => {};
let past, drawn;

/** What is now, and how it came to be. */
function show(stats, row) {
  setText($('node'), stats.node);
  showNow(stats, row);
  reasons(past.refused(), stats.refusals);
  drawn.draw(row);
  setText($('since'), `since ${timeOfDay(past.since * 1000)}`);
}

const call = (path, options) => ask(path, { token, ...options });
const showNow = nowTiles();
const table = sessionTable(call, () => token);
const numbers = figures(call);

function door(problem = '') {
  stop();
  numbers.stop();
  table.clear();
  drawn?.end();
  drawn = undefined;
  past = undefined;
  token = null;
  inTab.set(TOKEN, null);
  hideConnection();
  setText($('node'), '');
  $('sign-out').hidden = true;
  showOnly('door', VIEWS);
  setText($('door-problem'), problem);
  $('token').focus();
}

function look() {
  stop = follow(token, {
    onStatus(status, refusal) {
      // Whoever was never let in stays at the door.
      if (status === 'closed') return door(refusal.message);
      if (past || status === 'reconnecting') showConnection(status, refusal);
    },
    onHistory(frames) {
      if (!past) entered();
      show(frames.at(-1), past.begin(frames));
    },
    onStats: (stats) => show(stats, past.add(stats)),
  });
}

function entered() {
  past = history();
  $('sign-out').hidden = false;
  $('token').value = '';
  showOnly('dashboard', VIEWS);
  showConnection('connected');
  drawn = charts($('charts'), past);
  table.load();
  numbers.load();
  $('now-title').focus({ preventScroll: true });
}

$('door').addEventListener('submit', (event) => {
  event.preventDefault();
  setText($('door-problem'), '');
  stop();
  token = $('token').value.trim();
  inTab.set(TOKEN, $('keep').checked ? token : null);
  look();
});
$('sign-out').onclick = () => door();

ready();
if (token) look();
else door();
