// The room's sit: a quiet ring that counts down for all. A host starts it.

import { clock } from '../lib/countdown.js';
import { $, setText } from '../lib/dom.js';
import { say } from './notices.js';

const ROUND = 2 * Math.PI * 54; // the length of the ring's line

const minutes = (seconds) =>
  seconds < 60 ? `${seconds} seconds` : seconds < 120 ? 'one minute' : `${Math.round(seconds / 60)} minutes`;

export function sitRing(room) {
  let timer;
  let shown; // the sit whose ring is to be seen
  let asked; // the ref of the sit that was asked for

  function tick() {
    clearTimeout(timer);
    const left = Date.parse(shown.ends_at) - room.now();
    const whole = Date.parse(shown.ends_at) - Date.parse(shown.started_at);
    const seconds = Math.max(0, Math.ceil(left / 1000));
    setText($('sit-left'), clock(seconds));
    $('sit-done').style.strokeDashoffset = ROUND * (1 - Math.min(1, Math.max(0, left / whole)));
    if (left > 0) timer = setTimeout(tick, left % 1000 || 1000);
  }

  function offer() {
    $('start-sit').hidden = Boolean(shown) || room.participants.get(room.you)?.role !== 'host';
  }

  function begin(sit) {
    const known = shown?.id === sit.id;
    shown = sit;
    asked = undefined;
    setText($('sit-problem'), '');
    $('sit').dataset.state = 'running';
    $('sit').hidden = false;
    setText($('sit-word'), 'Sitting together');
    if (!known) say(`A sit of ${minutes(Math.round((Date.parse(sit.ends_at) - Date.parse(sit.started_at)) / 1000))} has begun.`);
    tick();
    offer();
  }

  function end(id) {
    if (shown?.id !== id) return;
    clearTimeout(timer);
    shown = undefined;
    $('sit').dataset.state = 'done';
    $('sit-done').style.strokeDashoffset = 0;
    setText($('sit-left'), '✓');
    setText($('sit-word'), 'The sit is complete');
    say('The sit is complete.');
    timer = setTimeout(hide, 12_000);
    offer();
  }

  function hide() {
    clearTimeout(timer);
    shown = undefined;
    $('sit').hidden = true;
  }

  room.on('sit', (sit) => (sit.completed ? end(sit.id) : begin(sit)));
  room.on('change', offer);
  room.on('error', ({ ref, message }) => { if (ref === asked) setText($('sit-problem'), message); });
  // One that ended while nobody could tell us: the clock has.
  room.on('status', (status) => {
    if (status === 'connected' && shown && Date.parse(shown.ends_at) < room.now()) end(shown.id);
    if (status === 'closed') hide();
  });
  $('start-sit').onsubmit = (event) => {
    event.preventDefault();
    const connected = room.status === 'connected';
    setText($('sit-problem'), connected ? '' : 'Not connected just now: try again in a moment.');
    if (connected) asked = room.startSit(Number($('sit-length').value) * 60);
  };
  hide();
  offer();
}
