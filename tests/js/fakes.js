// Stand-ins for what surrounds the client: a clock, sockets, storage, a page; and frames by hand.

import { join } from '../../packages/client/lastseen.js';

export const SESSION = '0190b1f4-0000-7000-8000-000000000001';

/** Where the client keeps the resume token of that session. */
export const RESUME_KEY = `lastseen:resume:${SESSION}`;

/** A repeatable source of chance (mulberry32). */
export function chance(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Lets everything run that only waits for promises. */
export const settle = () => new Promise((done) => setImmediate(done));

/** Time that passes only by `pass`. With `every` set, timers fire only at its multiples, as in a hidden tab. */
export class FakeClock {
  time = 1_000;
  every = 1;
  timers = new Map();
  #next = 1;

  now = () => this.time;
  setTimeout = (then, ms) => {
    if (!(ms >= 0)) throw new Error(`a timer of ${ms} ms`);
    const at = Math.max(this.time, Math.ceil((this.time + ms) / this.every) * this.every);
    this.timers.set(this.#next, { at, then });
    return this.#next++;
  };
  clearTimeout = (id) => void this.timers.delete(id);

  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      const [id, { at, then }] = due;
      this.timers.delete(id);
      this.time = Math.max(this.time, at);
      then();
      await settle();
    }
    this.time = end;
    await settle();
  }

  /** The machine slept: time is gone, and nothing ran meanwhile. */
  sleep(ms) {
    this.time += ms;
  }

  /** Milliseconds until the next timer. */
  get next() {
    return Math.min(...[...this.timers.values()].map(({ at }) => at)) - this.time;
  }
}

export class FakeStorage {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => void this.items.set(key, String(value));
  removeItem = (key) => void this.items.delete(key);
}

/** The locks of an origin: `tab` gives what a tab sees of them, and `close` is the end of that tab. */
export class FakeLocks {
  held = new Map(); // the queue of each name, the holder first

  tab() {
    const mine = new Set();
    return {
      request: async (name, { ifAvailable, signal }, then) => {
        const queue = this.held.get(name) ?? [];
        this.held.set(name, queue);
        if (ifAvailable && queue.length > 0) return then(null);
        const entry = {};
        const over = () => {
          queue.splice(queue.indexOf(entry), 1);
          mine.delete(over);
          queue[0]?.go();
        };
        mine.add(over);
        queue.push(entry);
        if (queue[0] !== entry) {
          await new Promise((go, fail) => {
            entry.go = go;
            signal?.addEventListener('abort', () => {
              over();
              fail(signal.reason);
            }, { once: true });
          });
        }
        try {
          return await then({ name });
        } finally {
          if (mine.has(over)) over();
        }
      },
      close: () => [...mine].forEach((over) => over()),
    };
  }
}

export class FakePage extends EventTarget {
  document = Object.assign(new EventTarget(), { visibilityState: 'visible' });

  input(type = 'keydown') {
    this.dispatchEvent(new Event(type));
  }
  online() {
    this.dispatchEvent(new Event('online'));
  }
  see(visibilityState) {
    this.document.visibilityState = visibilityState;
    this.document.dispatchEvent(new Event('visibilitychange'));
  }
  /** Another page takes its place; `persisted` where it may come back as it is. */
  putAway(persisted = true) {
    this.dispatchEvent(Object.assign(new Event('pagehide'), { persisted }));
  }
  comeBack() {
    this.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  }
  freeze() {
    this.document.dispatchEvent(new Event('freeze'));
  }
  resume() {
    this.document.dispatchEvent(new Event('resume'));
  }
}

/** A person, as the server lists one. */
export const person = (id, more = {}) => ({
  id,
  user_id: null,
  name: `name of ${id}`,
  role: 'guest',
  status: 'active',
  quality: null,
  connections: 1,
  joined_at: '2026-11-21T09:30:00.000Z',
  last_seen_at: '2026-11-21T09:30:00.000Z',
  state: {},
  ...more,
});

export const welcome = (more = {}) => ({
  type: 'welcome',
  seq: 41,
  you: 'me',
  connection_id: 'c1',
  resume: 'r1',
  session: { id: SESSION, title: 'Evening', expires_at: '2026-11-21T10:30:00.000Z' },
  occupancy: 1,
  participants: [person('me')],
  beat_ms: 30_000,
  dead_after_ms: 75_000,
  grace_ms: 15_000,
  server_time: '2026-11-21T09:30:00.000Z',
  ...more,
});

export const diff = (seq, more = {}) => ({ type: 'diff', seq, occupancy: 1, joins: [], updates: [], leaves: [], ...more });

/** A message in so many frames, as the server sends one that is too long for one. */
export function inFrames(message, chunks) {
  const lists = ['participants', 'joins', 'updates', 'leaves'].filter((list) => message[list]);
  return Array.from({ length: chunks }, (_, place) => {
    const part = (list) => list.slice((list.length * place) / chunks, (list.length * (place + 1)) / chunks);
    const begins = place === 0 ? message : { type: 'more', seq: message.seq };
    const numbers = chunks > 1 && { chunk: place + 1, chunks };
    return { ...begins, ...numbers, ...Object.fromEntries(lists.map((list) => [list, part(message[list])])) };
  });
}

/** A room amid fakes. `world.socket` is the newest connection, seen from the server's side. */
export async function enter({ begin = true, ...options } = {}, { storage = new FakeStorage(), random = () => 0.5, answers = [] } = {}) {
  const clock = new FakeClock();
  const page = options.page ?? new FakePage();
  const world = {
    clock,
    page,
    storage,
    sockets: [],
    fetched: [],
    events: [],
    get socket() {
      return this.sockets.at(-1);
    },
    named(name) {
      return this.events.filter(([event]) => event === name).map(([, ...details]) => details);
    },
  };

  class FakeWebSocket {
    readyState = 0;
    frames = []; // what the client sent
    closedWith = null; // [code] once the client closed it

    constructor(url, protocols) {
      for (const protocol of protocols) {
        if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(protocol)) throw new SyntaxError(`bad protocol ${protocol.length}`);
      }
      this.url = new URL(url);
      this.protocols = protocols;
      world.sockets.push(this);
    }
    send(text) {
      if (this.readyState !== 1) throw new Error('sent on a socket that is not open');
      this.frames.push(JSON.parse(text));
    }
    close(...code) {
      this.closedWith = code.filter((c) => c !== undefined);
      this.readyState = 2;
    }

    sent(type) {
      return this.frames.filter((frame) => frame.type === type);
    }
    open() {
      this.readyState = 1;
      this.onopen?.({});
    }
    tell(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }
    /** Welcomes, and answers the beat by which the client says that it has read it: that one is not in `frames`. */
    welcome(more) {
      this.open();
      this.tell(welcome(more));
      this.answer();
      this.frames = this.frames.filter(({ type }) => type !== 'beat');
    }
    /** Answers every beat that has none yet. */
    answer() {
      for (const { ref } of this.sent('beat')) {
        if (ref > (this.answered ?? 0)) this.tell({ type: 'beat', ref: (this.answered = ref), server_time: '' });
      }
    }
    refuse(code, error, more = {}) {
      this.open();
      this.tell({ type: 'error', code: error, message: `about ${error}`, retry: code < 4500, ...more });
      this.end(code);
    }
    end(code, reason = '') {
      this.readyState = 3;
      this.onclose({ code, reason });
    }
  }

  const fetch = async (url) => {
    world.fetched.push(String(url));
    const [status, body, headers = {}] = answers.shift() ?? [500, {}];
    if (!status) throw new TypeError('network');
    return { ok: status < 300, status, json: async () => body, headers: new Headers(headers) };
  };

  world.room = join({
    url: 'https://example.org',
    WebSocket: FakeWebSocket,
    fetch,
    clock,
    random,
    storage,
    page,
    ...(options.invite || options.session || options.url ? {} : { session: SESSION, invite: 'inv', name: 'Ada' }),
    ...options,
  });
  for (const event of ['change', 'join', 'update', 'leave', 'status', 'session', 'expiring', 'sit', 'closed', 'error']) {
    world.room.on(event, (...details) => world.events.push([event, ...details]));
  }
  if (begin) await clock.pass(0);
  return world;
}

/** The same, and the server has welcomed it. */
export async function connected(options, surroundings, more) {
  const world = await enter(options, surroundings);
  world.socket.welcome(more);
  return world;
}
