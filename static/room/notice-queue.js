// The notices of a room, which share one line: each stays for a while before the next takes its place, in the order in
// which they came. No DOM and no imports, so that tests run it without a browser.

const SHOWN_MS = 2_000; // long enough to be read
const NAMED = 3; // of more people than these the first is named and the others are counted

/**
 * `show` puts a text into the line. While one is shown, arrivals and departures that follow each other are gathered
 * into a single notice, so that the wait does not grow with the number of people.
 */
export function noticeQueue(show, { setTimeout, clearTimeout } = globalThis) {
  let waiting = []; // texts, and moves: { id, name, came }
  let timer = null; // set while a notice is shown

  const add = (...notices) => {
    waiting.push(...notices);
    if (timer === null) next();
  };

  function next() {
    timer = null;
    const text = take();
    if (!text) return;
    show(text);
    timer = setTimeout(next, SHOWN_MS);
  }

  /** The next text; nothing where none waits, or where all moves that wait cancel each other. */
  function take() {
    while (waiting.length > 0) {
      if (typeof waiting[0] === 'string') return waiting.shift();
      const end = waiting.findIndex((notice) => typeof notice === 'string');
      const text = gathered(waiting.splice(0, end < 0 ? waiting.length : end));
      if (text) return text;
    }
    return null;
  }

  return {
    text: (text) => add(text),
    /** People, each with `id` and `name`, who came and who are gone since the last call. */
    moves: (came, gone) => add(
      ...came.map(({ id, name }) => ({ id, name, came: true })),
      ...gone.map(({ id, name }) => ({ id, name, came: false })),
    ),
    /** Drops what waits, and empties the line. */
    clear() {
      waiting = [];
      clearTimeout(timer);
      timer = null;
      show('');
    },
  };
}

/** One text for several moves. Whoever came and went meanwhile, or went and came back, is not in it. */
function gathered(moves) {
  const net = new Map();
  for (const move of moves) {
    const before = net.get(move.id);
    if (before && before.came !== move.came) net.delete(move.id);
    else net.set(move.id, move);
  }
  const names = (came) => [...net.values()].filter((move) => move.came === came).map(({ name }) => name);
  return [sentence(names(true), 'came in', 'came in'), sentence(names(false), 'is gone', 'are gone')].filter(Boolean).join(' ');
}

function sentence(names, one, many) {
  if (names.length === 0) return '';
  if (names.length === 1) return `${names[0]} ${one}.`;
  if (names.length > NAMED) return `${names[0]} and ${names.length - 1} others ${many}.`;
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)} ${many}.`;
}
