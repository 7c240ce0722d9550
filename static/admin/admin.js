// The dashboard: the door, and what is behind it.

import { $, setText, showOnly, timeOfDay } from '../lib/dom.js';
import { ask } from '../lib/http.js';
import { inTab } from '../lib/kept.js';
import { charts } from './charts.js';
import { hideConnection, showConnection } from './connection.js';
import { figures } from './figures.js';
import { history } from './history.js';
import { follow } from './live.js';
import { sessionTable } from './sessions.js';
import { nowTiles } from './tiles.js';

const TOKEN = 'lastseen:service';
const VIEWS = ['door', 'dashboard'];

let token = inTab.get(TOKEN);
let stop = () => {};
let past, drawn;

const call = (path, options) => ask(path, { token, ...options });
const showNow = nowTiles();
const table = sessionTable(call);
const numbers = figures(call);

function door(problem = '') {
  stop();
  numbers.stop();
  table.clear();
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
    onStats(stats) {
      if (!past) entered();
      setText($('node'), stats.node);
      const row = past.add(stats);
      showNow(stats, row);
      drawn.draw(row);
      setText($('since'), `since ${timeOfDay(past.since * 1000)}, as long as this page is open`);
    },
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

if (token) look();
else door();
