// A lastseen server for the tests of your app: no network, and no clock but its own. What it does not do: users and rights
// of the HTTP interface, event streams, and everything about a database.

import { fakeRooms } from './testing-room.js';
import { fakeClock, FakePage, fakeStorage } from './testing-tab.js';

const SESSION = '0190b1f4-0000-7000-8000-';
const BURST = 20;
const FINAL = [1000, 1005]; // closes of a client that are leaving

/** Times in ms; what the real one has unless it is set otherwise. */
const DEFAULTS = {
  beat: 30_000,
  ping: 25_000,
  deadAfter: 75_000,
  grace: 15_000,
  idleAfter: 300_000,
  diff: 100,
  detailLimit: 500,
  maxParticipants: 100,
  updatesPerSecond: 20,
  framesPerMinute: 100,
  startsAt: '2026-01-01T09:00:00.000Z',
};

const MESSAGES = {
  session_not_found: [4504, 404, 'Session not found or inactive'],
  invite_not_found: [4504, 404, 'There is no such invitation link.'],
  invite_expired: [4510, 410, 'This invitation link has expired.'],
  session_closed: [4511, 410, 'This session is closed.'],
  session_full: [4509, 409, 'This session is full.'],
  removed: [4512, 403, 'You were removed from this session.'],
  unauthenticated: [4501, 401, 'A valid token is needed.'],
  forbidden: [4503, 403, 'This is not open to you.'],
  invalid_request: [4522, 422, 'A guest needs a name.'],
  token_expired: [4001, 401, 'The token has expired. Get a fresh one and come back.'],
  rate_limited: [4029, 429, 'Too many requests. Slow down.'],
  beat_timeout: [4008, 408, 'Nothing was heard from this connection for too long.'],
  draining: [1012, 503, 'The server is being restarted. Come back in a moment.'],
  bad_frame: [4500, 400, 'The frame could not be understood.'],
};

class Refused extends Error {
  constructor(code, more = {}) {
    super(MESSAGES[code][2]);
    Object.assign(this, { code, more });
  }
}

function base64(value) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value)));
  return btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

export function fakeServer(settings = {}) {
  const rules = { ...DEFAULTS, ...settings };
  const clock = fakeClock();
  const start = Date.parse(rules.startsAt);
  const sessions = new Map();
  const invites = new Map(); // by token
  const resumes = new Map(); // person by token
  const sockets = new Set();
  let cut = false;
  let ids = 0;

  const id = () => SESSION + String(++ids).padStart(12, '0');
  const time = (ms = clock.now()) => new Date(start + ms).toISOString();
  const rooms = fakeRooms({ rules, clock, id, time, send: deliver });
  const { sessionOf, shown, enter, act, update, lose, leave, gone, tell } = rooms;

  function personOf(room, about) {
    const person = rooms.personOf(room, about);
    resumes.set(person.resume, { room, person });
    return person;
  }

  // Rooms

  function open({ title = null, maxParticipants = rules.maxParticipants } = {}) {
    const room = {
      id: id(),
      title,
      maxParticipants,
      createdAt: time(),
      seenAt: clock.now(),
      closed: null,
      people: new Map(),
      known: new Map(), // all who ever came, by id
      seq: 0,
      changed: new Map(), // id → what it was at the last diff: undefined where it was not here
      left: new Map(), // id → reason
      timer: null,
      hadDetail: true,
      sit: null,
    };
    sessions.set(room.id, room);
    const invite = ({ role = 'guest', maxUses = null } = {}) => {
      const token = `lsi_${id()}`;
      invites.set(token, { room, role, left: maxUses ?? Infinity, revoked: false });
      return `https://lastseen.test/join/${token}`;
    };
    const find = (who) => [...room.people.values()].find((person) => person.id === who || person.name === who);
    return {
      id: room.id,
      url: invite(),
      hostUrl: invite({ role: 'host' }),
      invite,
      revoke(url) {
        invites.get(url.slice(url.lastIndexOf('/') + 1)).revoked = true;
      },
      get participants() {
        return [...room.people.values()].map(shown);
      },
      get occupancy() {
        return room.people.size;
      },
      /** Somebody comes in, without a page of their own. */
      join(name, { userId = null, role = userId ? 'participant' : 'guest', state = {} } = {}) {
        const person = personOf(room, { name, role, userId, state });
        const connection = {};
        const back = () => enter(room, person, connection);
        back();
        return {
          id: person.id,
          update: (state) => update(room, person, state),
          act: () => act(room, person),
          /** The connection is lost; after the grace it is a leave. */
          lose: () => lose(room, person, connection),
          back,
          leave: () => leave(room, person, connection),
        };
      },
      /** By id or name. */
      remove(who) {
        const person = find(who);
        person.removed = true;
        for (const connection of [...person.connections]) connection.socket && refuse(connection.socket, new Refused('removed'));
        gone(room, person, 'removed');
      },
      rename(title) {
        room.title = title;
        tell(room, { type: 'session', session: sessionOf(room) });
      },
      close(reason = 'host') {
        room.closed = { reason, at: time() };
        for (const person of room.people.values()) {
          for (const connection of [...person.connections]) connection.socket && refuse(connection.socket, new Refused('session_closed', { reason }));
          clock.clearTimeout(person.timer);
        }
        room.people.clear();
      },
      expiring(minutes = 5) {
        tell(room, { type: 'expiring', expires_at: time(clock.now() + minutes * 60_000), minutes });
      },
    };
  }

  // Sockets

  function admit(url, protocols) {
    const [, sessionId] = /\/v1\/reading-sessions\/([^/]+)\/ws$/.exec(url.pathname) ?? [];
    const credential = (kind) => protocols.find((protocol) => protocol.startsWith(`lastseen.${kind}.`))?.slice(`lastseen.${kind}.`.length);
    const resume = credential('resume') ?? url.searchParams.get('resume');
    const jwt = credential('bearer');
    const name = url.searchParams.get('name')?.trim() || null;
    const room = sessions.get(sessionId);
    if (resume) {
      const { room: own, person } = resumes.get(resume) ?? {};
      if (!person) throw new Refused('unauthenticated');
      if (own !== room) throw new Refused('forbidden');
      if (person.removed) throw new Refused('removed');
      if (room.closed) throw new Refused('session_closed', { reason: room.closed.reason });
      if (name) person.name = name;
      return { room, person };
    }
    const user = jwt == null ? null : claims(jwt);
    if (!room) throw new Refused('session_not_found');
    const member = user && [...room.known.values()].find(({ userId }) => userId === user.sub);
    if (member?.removed) throw new Refused('removed');
    if (room.closed && member) throw new Refused('session_closed', { reason: room.closed.reason });
    if (member) return { room, person: member };
    const token = url.searchParams.get('invite');
    if (!token) throw new Refused(user ? 'forbidden' : 'unauthenticated');
    const invite = goodInvite(token);
    if (invite.room !== room) throw new Refused('invite_not_found');
    if (!user && !name) throw new Refused('invalid_request');
    if (room.people.size >= room.maxParticipants) throw new Refused('session_full');
    invite.left--;
    const role = invite.role === 'guest' && user ? 'participant' : invite.role;
    return { room, person: personOf(room, { name: name ?? user.name, role, userId: user?.sub ?? null }) };
  }

  function goodInvite(token) {
    const invite = invites.get(token);
    if (!invite) throw new Refused('invite_not_found');
    if (invite.room.closed || invite.revoked || invite.left <= 0) throw new Refused('invite_expired');
    return invite;
  }

  /** A JWT for `token` or `getToken`; this server believes it without a signature. */
  function token({ sub, name, seconds = 3600 }) {
    const exp = Math.floor((start + clock.now()) / 1000) + seconds;
    return [{ alg: 'none' }, { sub, name, exp }].map(base64).join('.') + '.fake';
  }

  function claims(jwt) {
    let read;
    try {
      const bytes = atob(jwt.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
      read = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
    } catch {
      throw new Refused('unauthenticated');
    }
    if (read.exp * 1000 <= start + clock.now()) throw new Refused('token_expired');
    return read;
  }

  /** Frames and closes arrive as time passes, in order. */
  function deliver(socket, frame) {
    const text = JSON.stringify(frame);
    clock.setTimeout(() => { if (socket.readyState === 1 && !socket.isCut) socket.onmessage?.({ data: text }); }, 0);
  }

  function end(socket, code, reason = '') {
    unseat(socket, FINAL.includes(code));
    clock.setTimeout(() => {
      if (socket.readyState === 3) return;
      socket.readyState = 3;
      socket.onclose?.({ code, reason, wasClean: code !== 1006 });
    }, 0);
  }

  function refuse(socket, { code, message, more }) {
    const close = MESSAGES[code][0];
    const retry = close < 4500;
    deliver(socket, { type: 'error', code, message, retry, ...(retry && { retry_after_ms: 0 }), ...more });
    end(socket, close, code);
  }

  function unseat(socket, isLeaving) {
    const { connection } = socket;
    socket.connection = null;
    sockets.delete(socket);
    clock.clearTimeout(connection?.expiry);
    if (connection) (isLeaving ? leave : lose)(connection.room, connection.person, connection);
  }

  function opened(socket) {
    if (cut || socket.isCut) return end(socket, 1006);
    socket.readyState = 1;
    socket.onopen?.({});
    try {
      const { room, person } = admit(socket.address, socket.protocols);
      const jwt = socket.protocols.find((protocol) => protocol.startsWith('lastseen.bearer.'))?.slice('lastseen.bearer.'.length);
      const connection = (socket.connection = { room, person, socket, id: id(), freeAt: clock.now(), over: 0 });
      enter(room, person, connection);
      const expires = jwt ? claims(jwt).exp * 1000 - start : null;
      deliver(socket, {
        type: 'welcome',
        seq: room.seq,
        you: person.id,
        connection_id: connection.id,
        resume: person.resume,
        session: sessionOf(room),
        occupancy: room.people.size,
        token_expires_at: expires == null ? null : time(expires),
        beat_ms: rules.beat,
        dead_after_ms: rules.deadAfter,
        grace_ms: rules.grace,
        pace: { updates_per_second: rules.updatesPerSecond, frames_per_minute: rules.framesPerMinute },
        server_time: time(),
        participants: rooms.peopleFor(room, person),
      });
      if (expires != null) expire(connection, expires);
      if (room.sit) deliver(socket, room.sit);
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      refuse(socket, refused);
    }
  }

  function expire(connection, at) {
    clock.clearTimeout(connection.expiry);
    connection.expiry = clock.setTimeout(() => refuse(connection.socket, new Refused('token_expired')), at + 30_000 - clock.now());
  }

  /** Whether a frame keeps the pace, as the real server counts it. */
  function keepsPace(connection, frame) {
    const perFrame = 60_000 / rules.framesPerMinute;
    const now = clock.now();
    if (connection.freeAt - now <= perFrame * (BURST - 1)) {
      const counts = frame.type === 'update' ? 500 / rules.updatesPerSecond : perFrame;
      connection.freeAt = Math.max(connection.freeAt, now) + counts;
      return true;
    }
    connection.over++;
    const slower = new Refused('rate_limited', { retry_after_ms: Math.ceil(perFrame) });
    if (connection.over === 1) deliver(connection.socket, { type: 'error', code: slower.code, message: slower.message, retry: true, ...slower.more });
    if (connection.over > BURST) refuse(connection.socket, slower);
    return false;
  }

  function received(socket, text) {
    const { connection } = socket;
    if (!connection) return;
    const { room, person } = connection;
    const frame = JSON.parse(text);
    const { type, ref } = frame;
    if (!keepsPace(connection, frame)) return;
    rooms.seen(room, person);
    const answer = (code, more) => deliver(socket, { type: 'error', code, message: MESSAGES[code]?.[2] ?? '', retry: false, ref, ...more });
    if (type === 'beat') {
      if (frame.active !== false) act(room, person);
      deliver(socket, { type, ref, server_time: time() });
    } else if (type === 'update') {
      const size = new TextEncoder().encode(JSON.stringify(frame.state)).length;
      if (size > 2048) answer('bad_frame');
      else update(room, person, frame.state);
    } else if (type === 'sync') deliver(socket, rooms.stateFor(room, person));
    else if (type === 'leave') end(socket, 1000);
    else if (type === 'sit') startSit(room, person, frame, answer);
    else if (type === 'token') {
      try {
        const fresh = claims(frame.token);
        if (fresh.sub !== person.userId) return answer('forbidden');
        expire(connection, fresh.exp * 1000 - start);
        deliver(socket, { type, ref, expires_at: time(fresh.exp * 1000 - start), server_time: time() });
      } catch (refused) {
        answer(refused.code);
      }
    }
  }

  function startSit(room, person, { sit_length_seconds: seconds }, answer) {
    if (person.role !== 'host') return answer('forbidden');
    if (room.sit) return answer('conflict');
    room.sit = { type: 'sit', id: id(), started_at: time(), ends_at: time(clock.now() + seconds * 1000) };
    tell(room, room.sit);
    clock.setTimeout(() => {
      tell(room, { type: 'sit', id: room.sit.id, completed: true });
      room.sit = null;
    }, seconds * 1000);
  }

  function socketOf(tab) {
    return class FakeWebSocket {
      readyState = 0;

      constructor(url, protocols = []) {
        for (const protocol of protocols) if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(protocol)) throw new SyntaxError('A subprotocol has a character that it may not have.');
        Object.assign(this, { url: String(url), address: new URL(url), protocols, tab });
        sockets.add(this);
        clock.setTimeout(() => { if (this.readyState === 0) opened(this); }, 0);
      }
      send(text) {
        if (this.readyState === 0) throw new Error('InvalidStateError: it is not open yet');
        if (this.readyState !== 1 || this.isCut) return;
        clock.setTimeout(() => received(this, text), 0);
      }
      close(code = 1005) {
        if (this.readyState > 1) return;
        this.readyState = 2;
        clock.setTimeout(() => end(this, code), 0);
      }
    };
  }

  async function fetch(address) {
    if (cut) throw new TypeError('Failed to fetch');
    const [, token] = /\/v1\/invites\/([^/]+)$/.exec(new URL(address).pathname) ?? [];
    const answer = (status, body) => new Response(JSON.stringify(body), { status });
    try {
      const { room } = goodInvite(token ?? '');
      return answer(200, { session: { id: room.id, title: room.title, occupancy: room.people.size }, expires_at: null });
    } catch ({ code, message }) {
      return answer(MESSAGES[code][1], { code, detail: message });
    }
  }

  return {
    open,
    token,
    clock,
    /** Milliseconds pass: frames arrive, graces run out. */
    pass: clock.pass,
    /** Options for `join` as in a tab of its own; with the one before, the same tab after a reload. */
    newTab({ storage = fakeStorage() } = {}) {
      const tab = {};
      return { WebSocket: socketOf(tab), fetch, clock, random: () => 0.5, storage, device: null, page: new FakePage() };
    },
    /** The network is gone, without a word: all sockets are lost, and no new one opens. */
    cut() {
      cut = true;
      for (const socket of [...sockets]) {
        end(socket, 1006);
        socket.isCut = true;
      }
    },
    mend() {
      cut = false;
    },
    /** The server is restarted: all connections end with 1012, and nobody leaves. */
    restart() {
      for (const socket of [...sockets]) refuse(socket, new Refused('draining'));
    },
  };
}
