// The state of the connection: always to be seen, never in the way.

import { $, setText } from '../lib/dom.js';

const WORDS = { connecting: 'Connecting…', connected: 'Connected', reconnecting: 'Reconnecting…', closed: 'Not connected' };

export function showConnection(status, cause) {
  $('connection').hidden = false;
  $('connection').dataset.status = status;
  setText($('connection-word'), WORDS[status]);
  const lost = status === 'reconnecting';
  $('people').classList.toggle('stale', lost);
  $('connection-why').hidden = !lost;
  if (lost) {
    const why = cause?.message || (navigator.onLine === false ? 'Your device is offline.' : 'The connection was lost.');
    setText($('connection-why'), `${why} Until it is back, you see who was here before.`);
  }
}

export const hideConnection = () => {
  $('connection').hidden = true;
  $('connection-why').hidden = true;
};
