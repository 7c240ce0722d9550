// What a browser remembers of a guest: in the tab the way back into a session, on the device whom a link made.

const RESUME = 'lastseen:resume:'; // + session id, in the tab
const SESSION = 'lastseen:session:'; // + invite, in the tab
const LINKS = 'lastseen:links'; // [[invite, session id, resume token]…] on the device, the newest last
const MOST_LINKS = 50;

const arriving = new Map(); // by invite: until whoever of this page comes in first is in

/** `storage` is the tab's; `device` outlives it, and is for pages that can know whether another tab has the seat. */
export function memory({ storage, device, locks = globalThis.navigator?.locks }) {
  const shared = !storage; // by all rooms of the page
  const tab = safely(() => storage ?? globalThis.sessionStorage);
  const disk = safely(() => (locks ? device ?? (shared && device !== null ? globalThis.localStorage : null) : null));
  let seat; // the token of the seat that is held, or waited for
  let letGo = () => {};

  const links = () => {
    try {
      return JSON.parse(disk.get(LINKS)).filter(Array.isArray);
    } catch {
      return [];
    }
  };
  const guestsOf = (invite) => links().filter(([known, , token]) => known === invite && token).reverse();

  // While a live tab holds a seat, its lock is taken.
  function take(token, ifAvailable) {
    release();
    seat = token;
    const done = new AbortController();
    letGo = () => done.abort();
    const { signal } = done;
    return new Promise((taken) => {
      const hold = (lock) => {
        taken(Boolean(lock));
        return lock && new Promise((over) => (signal.aborted ? over() : signal.addEventListener('abort', over)));
      };
      locks.request('lastseen:' + token, ifAvailable ? { ifAvailable } : { signal }, hold).catch(() => taken(false));
    });
  }

  function release() {
    seat = null;
    letGo();
  }

  return {
    session: (invite) => tab.get(SESSION + invite),
    resume: (id) => tab.get(RESUME + id),
    release,

    /** Keeps in the tab which session the invite opens. */
    keepSession: (invite, id) => tab.set(SESSION + invite, id),

    /** Keeps the way back, and holds the seat. */
    keep(invite, id, token) {
      tab.set(RESUME + id, token);
      if (!invite) return;
      const others = links().filter(([, , known]) => known !== token);
      disk.set(LINKS, JSON.stringify([...others, [invite, id, token]].slice(-MOST_LINKS)));
      const isKept = links().some(([, , known]) => known === token);
      if (isKept && seat !== token) take(token);
    },

    forget(id, token) {
      tab.set(RESUME + id);
      const others = links().filter(([, , known]) => known !== token);
      disk.set(LINKS, others.length ? JSON.stringify(others) : null);
      release();
    },

    /** The last guest whom the link made on this device and who is in no live tab, `{ id, token }`. The seat is held from then on. */
    async claim(invite) {
      for (const [, id, token] of guestsOf(invite)) if (await take(token, true)) return { id, token };
      return null;
    },

    /** Whether there is one. */
    async mayClaim(invite) {
      for (const [, , token] of guestsOf(invite)) {
        if (await locks.request('lastseen:' + token, { ifAvailable: true }, Boolean)) return true;
      }
      return false;
    },

    /** Waits until no other room of the page is on its way in by the invite. Returns what lets the next one in. */
    async first(invite) {
      if (!shared) return () => {};
      while (arriving.has(invite)) await arriving.get(invite);
      let next;
      const way = new Promise((done) => { next = done; });
      arriving.set(invite, way);
      return () => {
        if (arriving.get(invite) === way) arriving.delete(invite);
        next();
      };
    },
  };
}

// A storage that may not be there, or may not be used.
function safely(storage) {
  const attempt = (use) => {
    try {
      return use(storage());
    } catch {}
  };
  return {
    get: (key) => attempt((s) => s.getItem(key)),
    set: (key, value) => attempt((s) => (value ? s.setItem(key, value) : s.removeItem(key))),
  };
}
