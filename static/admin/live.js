// The socket that brings the server's figures once a second, and is opened anew when it is lost.

import { address } from '../lib/http.js';

const LONGEST_MS = 30_000;
const FINAL = new Set([1002, 1003, 1007, 1009]);

/**
 * Follows the figures. `onHistory` gets those of the last hour, up to now, at the beginning of each connection,
 * `onStats` each frame from then on, `onStatus` the state of the connection ('connecting', 'connected',
 * 'reconnecting', and 'closed' with the refusal where it is final). Returns the function that ends it.
 */
export function follow(token, { onHistory, onStats, onStatus }) {
  const url = address('/v1/admin/ws');
  url.protocol = url.protocol.replace('http', 'ws');
  let socket, timer, refusal;
  let tries = 0;
  let over = false;

  function connect() {
    clearTimeout(timer);
    refusal = undefined;
    let past = []; // it comes in several frames
    // A page cannot set headers here, and an address is written down in too many places.
    const current = socket = new WebSocket(url, ['lastseen.v1', `lastseen.bearer.${token}`]);
    current.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === 'error') refusal = frame;
      if (frame.type === 'stats') onStats(frame);
      if (frame.type !== 'history' && frame.type !== 'more') return;
      past = past.concat(frame.frames);
      if (frame.chunk < frame.chunks) return;
      tries = 0;
      onStatus('connected');
      onHistory(past);
    };
    current.onclose = ({ code }) => { if (!over && current === socket) lost(code); };
  }

  function lost(code) {
    if (code >= 4500 || FINAL.has(code) || refusal?.code === 'token_expired') {
      end();
      return onStatus('closed', refusal ?? { message: 'The connection was refused.' });
    }
    onStatus('reconnecting', refusal);
    const most = Math.min(LONGEST_MS, 2000 * 2 ** tries++);
    timer = setTimeout(connect, refusal?.retry_after_ms ?? 500 + Math.random() * most);
  }

  function end() {
    over = true;
    clearTimeout(timer);
    removeEventListener('online', again);
    socket?.close();
  }
  const again = () => { if (socket.readyState > 1) connect(); };

  addEventListener('online', again);
  onStatus('connecting');
  try {
    connect();
  } catch {
    // The browser refuses the subprotocol: the text has characters that no token has.
    over = true;
    onStatus('closed', { message: 'This is not a token: a JWT has letters, digits, points, - and _ only.' });
  }
  return end;
}
