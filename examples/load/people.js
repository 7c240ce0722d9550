// What the scripts for k6 and Artillery share: one person in a room, by the fold of the browser client.

import { fold, presence } from '../../packages/client/presence.js';

/** Somebody who hears frames and beats. `count(name)` and `time(name, ms)` note what is measured. */
export function person({ send, count, time, now = () => Date.now() }) {
  const view = presence();
  const waiting = new Map(); // beats without an answer: their number, and when they were due
  let ref = 0;
  let syncing = false;

  return {
    view,
    /** A frame of the server's. */
    hear(text) {
      const frame = JSON.parse(text);
      if (frame.type !== 'more') count('frames'); // it counts with the frame that it goes on with
      if (frame.type === 'beat') {
        if (waiting.has(frame.ref)) time('beat_ms', now() - waiting.get(frame.ref));
        waiting.delete(frame.ref);
      }
      if (frame.type === 'error') count('errors');
      const change = fold(view, frame);
      if (change?.cause === 'state') syncing = false;
      if (change?.gap && !syncing) {
        syncing = true;
        count('gaps');
        send(JSON.stringify({ type: 'sync' }));
      }
      if (change?.cause === 'diff' && !syncing && view.participants.size !== view.occupancy) count('wrong_counts');
      return frame;
    },
    /** A beat, which was due then. */
    beat(due = now()) {
      waiting.set(++ref, due);
      count('beats');
      send(JSON.stringify({ type: 'beat', ref, active: true }));
    },
    /** Says goodbye. Beats that were not answered until now are counted. */
    leave() {
      for (let n = waiting.size; n > 0; n--) count('unanswered');
      send(JSON.stringify({ type: 'leave' }));
    },
  };
}

/** The address of a session's WebSocket, for somebody with an invite. */
export const address = (base, { id, invite }, name) =>
  `${base.replace('http', 'ws')}/v1/reading-sessions/${id}/ws?invite=${invite}&name=${encodeURIComponent(name)}`;
