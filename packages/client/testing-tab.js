// What surrounds a room in a test: time, what a tab keeps, and the window.

const TURNS = 64; // more than any chain of promises between two timers of the client

/** Time that passes only by `pass`. */
export function fakeClock() {
  const timers = new Map();
  let time = 0;
  let last = 0;
  return {
    now: () => time,
    setTimeout(then, ms = 0) {
      timers.set(++last, { at: time + Math.max(0, ms), then });
      return last;
    },
    clearTimeout: (id) => void timers.delete(id),
    async pass(ms) {
      const end = time + ms;
      for (;;) {
        await settle();
        let due;
        for (const [id, { at }] of timers) if (at <= end && (!due || at < timers.get(due).at)) due = id;
        if (!due) break;
        const { at, then } = timers.get(due);
        timers.delete(due);
        time = Math.max(time, at);
        then();
      }
      time = end;
    },
  };
}

async function settle() {
  for (let turn = 0; turn < TURNS; turn++) await null;
}

export function fakeStorage() {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, String(value)),
    removeItem: (key) => void items.delete(key),
  };
}

/** The window around a room: what people and browsers do to it. */
export class FakePage extends EventTarget {
  document = Object.assign(new EventTarget(), { visibilityState: 'visible' });

  #happens(type, more = {}, to = this) {
    to.dispatchEvent(Object.assign(new Event(type), more));
  }
  /** The person does something. */
  input(type = 'keydown') {
    this.#happens(type);
  }
  hide() {
    this.document.visibilityState = 'hidden';
    this.#happens('visibilitychange', {}, this.document);
  }
  show() {
    this.document.visibilityState = 'visible';
    this.#happens('visibilitychange', {}, this.document);
  }
  /** Another page takes its place, and this one goes into the back/forward cache. */
  putAway() {
    this.#happens('pagehide', { persisted: true });
    this.hide();
  }
  comeBack() {
    this.show();
    this.#happens('pageshow', { persisted: true });
  }
  online() {
    this.#happens('online');
  }
}
