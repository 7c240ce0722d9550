// Time that runs out, in the page: by whole seconds, and what is said of it.

/** `4:05` */
export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;

/**
 * Calls `show` with the milliseconds that are left by `left()`: now, at each whole second, and at the end with 0. Gives
 * back what stops it.
 */
export function countDown(left, show) {
  let timer;
  const tick = () => {
    const ms = Math.max(0, left());
    if (ms > 0) timer = setTimeout(tick, ms % 1000 || 1000);
    show(ms);
  };
  tick();
  return () => clearTimeout(timer);
}
