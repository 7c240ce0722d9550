// Whether the figures are of now: always to be seen, never in the way.

import { $, setText } from '../lib/dom.js';

const WORDS = { connecting: 'Connecting…', connected: 'Live', reconnecting: 'Reconnecting…' };

export function showConnection(status, cause) {
  $('connection').hidden = false;
  $('connection').dataset.status = status;
  setText($('connection-word'), WORDS[status]);
  const lost = status === 'reconnecting';
  $('connection-why').hidden = !lost;
  if (!lost) return;
  const why = cause?.message || (navigator.onLine === false ? 'Your device is offline.' : 'The connection was lost.');
  // At the door nothing was seen before.
  setText($('connection-why'), $('dashboard').hidden ? why : `${why} Until it is back, you see the figures from before.`);
}

export const hideConnection = () => {
  $('connection').hidden = true;
  $('connection-why').hidden = true;
};
