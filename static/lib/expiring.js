// The notice that a session expires: given, counted down, and taken back as soon as somebody comes or does something.

import { countDown } from './countdown.js';
import { timeOfDay } from './dom.js';

/** `show` gets the milliseconds that are left and when they are over; null where nothing is about to expire. Gives back what hides it. */
export function followExpiry(room, show) {
  let stop = null;
  const hide = () => {
    if (!stop) return;
    stop();
    stop = null;
    show(null);
  };
  room.on('expiring', ({ expires_at }) => {
    stop?.();
    const end = Date.parse(expires_at);
    stop = countDown(() => end - room.now(), (left) => show(left, end));
  });
  room.on('join', hide);
  room.on('update', ({ status }) => { if (status === 'active') hide(); });
  room.on('status', hide);
  return hide;
}

// The frame was some time on the way, and clocks are never quite the same: five minutes stay five.
const TOLERANCE_MS = 10_000;

/** What is said of it, with minutes that are rounded up. It changes once a minute, so that it may be read aloud. */
export function inMinutes(left, end) {
  const minutes = Math.max(1, Math.ceil((left - TOLERANCE_MS) / 60_000));
  if (left === 0) return 'This session will expire any moment now.';
  return `This session will expire in ${minutes === 1 ? 'one minute' : `${minutes} minutes`}, at ${timeOfDay(end)}.`;
}
