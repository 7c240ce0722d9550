// A hold on the page for its tests, and for whoever looks into its console: `window.lastseen`. Only where the server says so.

let room = null;
let line = null; // the newest WebSocket

/** A WebSocket that is remembered. */
class Line extends WebSocket {
  constructor(...address) {
    super(...address);
    line = this;
  }
}

const isOpen = () => line?.readyState === WebSocket.OPEN;

const hold = {
  /** The room of the client library; null before one has come in. */
  get room() { return room; },
  /** Those who are here, as plain objects. */
  get participants() { return room ? [...room.participants.values()] : []; },
  /** Sends a beat at once, as of a person who did something. Whether there was a connection to send it by. */
  beat() {
    if (isOpen()) line.send(JSON.stringify({ type: 'beat', active: true }));
    return isOpen();
  },
  /** Drops the line, which is no leave: the others see that one is reconnecting, and the client comes back. Whether there was one. */
  drop() {
    const was = isOpen();
    line?.close(4000); // without a code it would be leaving
    return was;
  },
};

/** What the client is given to be held by. */
export const forTesters = () => {
  window.lastseen = hold;
  return { WebSocket: Line };
};

/** The room that one comes into. */
export const held = (here) => { room = here; };
