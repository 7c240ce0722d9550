// Numbers as people read them.

const few = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const many = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });

export const short = (number) => (number == null ? '–' : Math.abs(number) < 10_000 ? few.format(number) : many.format(number));

export const bytes = (number) => (number == null ? '–' : `${few.format(number / 2 ** 20)} MiB`);

/** So much time, in its two largest units. */
export function span(seconds) {
  const units = [['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return '0 s';
  let left = Math.round(seconds);
  const parts = units.slice(first, first + 2).map(([unit, size]) => {
    const count = Math.floor(left / size);
    left -= count * size;
    return count > 0 && `${count} ${unit}`;
  });
  return parts.filter(Boolean).join(' ');
}

/** `user_sessions_timed_out` → `user sessions timed out` */
export const words = (key) => key.replaceAll('_', ' ');
