// lastseen: be present in a reading session, and know who else is. README.md and lastseen.d.ts say how.

import { memory } from './memory.js';
import { fold, presence } from './presence.js';

const WELCOME_MS = 15_000; // not welcomed by then, it is given up
const PROBE_MS = 10_000; // after a sleep an answer is expected sooner than usual
const SECOND_LOOK_MS = 100; // frames that queued up in a sleep come first
const SOON_MS = 1_000; // activity is sent at once, but not more often than this
const ASK_MS = 5_000; // a fresh token is not asked for more often than this
const GIVEN_UP = 4000; // the close code of a connection that is followed by another one
const UPDATE_MS = 100; // states are sent no more often than this: the newest of them

const BURST = 20; // frames that a server takes at once
const PER_MINUTE = 100; // ... and in a minute, where its welcome says nothing else
const SLACK = 1.05; // two clocks are never the same
const SPARE = 5; // frames of the burst that updates leave to others
const UNANSWERED = 10; // a network that stood still delivers all at once: no more than this waits for the answer to a beat

const INPUT = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart'];
const RESUME_IS_DEAD = [4501, 4503, 4504, 4511, 4512];

const platform = {
  now: () => performance.now(), // a clock that is set back must not silence the beats
  setTimeout,
  clearTimeout,
};

export const comesBack = (code) => code < 4500 && ![1000, 1002, 1003, 1007, 1009].includes(code);

export const retryDelay = (n, random, atLeast = 0) =>
  Math.max(atLeast, random() * Math.min(30_000, 5_000 * 2 ** n));

export async function remembered(target, more) {
  const options = settings(target, more);
  const { session, invite } = options;
  const kept = memory(options);
  return kept.resume(session ?? kept.session(invite)) != null || kept.mayClaim(invite);
}

export function join(target, more) {
  const options = settings(target, more);
  const { base, invite, getToken, page = globalThis, random = Math.random } = options;
  const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch } = options;
  const { now, setTimeout, clearTimeout } = options.clock ?? platform;
  const kept = memory(options);
  const view = presence();
  const swaps = 'onpageswap' in page;
  const handlers = {};
  const listening = []; // what ends it

  let status = 'connecting';
  let session = null;
  let sit = null;
  let serverAhead; // of the own clock
  let id = options.session ?? kept.session(invite);
  let token, resume; // what opens this connection: a JWT, else a resume token, else the invite
  let arrived = () => {}; // lets the next room of this page come in by the same invite
  let socket;
  let stays; // a reload or another page: the tab is not being closed
  let turn = 0; // what an earlier one waited for is void
  let timer; // the only one: to be welcomed, to beat, or to try again
  let tries = 0;
  let notBefore; // set while waiting to try again
  let refusal; // the error frame that a close may follow
  let ref = 0;
  let beatMs, deadMs, beatAt, nextBeat, beatRef;
  let perFrame, perUpdate, freeAt; // the pace: what a frame counts, in ms, and when the whole burst is free again
  let spent, beatSpent, answered; // what all frames counted, up to now, the last beat and the last that was answered
  let updateMs;
  let deadline = Infinity; // a frame must arrive by then
  let active = false; // the person did something since the last beat
  let sentActive; // ... and before it
  let syncing = false;
  let wanted, wantedRef; // the public state that was last set
  let isNew = false; // ... and not sent yet
  let updatedAt;
  let renewAt, expiresAt, offered, offeredRef; // the token: when to ask for another, its end, the one that was sent last

  const emit = (event, ...details) => {
    for (const handler of [...(handlers[event] ?? [])]) {
      try {
        handler(...details);
      } catch (error) {
        queueMicrotask(() => { throw error; }); // reported
      }
    }
  };
  const setStatus = (next, cause) => {
    if (status !== next) emit('status', (status = next), cause);
  };
  const arm = (ms, then) => {
    clearTimeout(timer);
    timer = setTimeout(then, Math.max(0, ms));
  };
  const send = (frame, counts = perFrame) => {
    if (socket?.readyState !== 1) return;
    socket.send(JSON.stringify(frame));
    freeAt = Math.max(freeAt, now()) + counts;
    spent += counts;
  };
  // When the pace lets a frame be sent, and so many after it.
  const mayAt = (more) => freeAt - perFrame * (BURST - 1 - more);
  const isUnanswered = (frames) => spent - answered > perFrame * (frames - 0.5);

  // Coming and going

  async function connect() {
    drop();
    const mine = turn;
    notBefore = refusal = null;
    arm(WELCOME_MS, () => closed(1006));
    try {
      token = await (getToken ? getToken() : options.token);
      if (token) resume = null;
      else if (mine === turn) await recall(mine);
      if (mine === turn) id ??= await lookup(mine);
    } catch (error) {
      if (mine === turn) closed(1006, error?.message);
    }
    if (mine !== turn) return;

    const { name, platform, clientSession: client_session } = options;
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries({ invite: resume ? null : invite, name, platform, client_session })) {
      if (value != null) query.set(key, value);
    }
    const protocols = ['lastseen.v1'];
    if (token) protocols.push('lastseen.bearer.' + token);
    if (resume) protocols.push('lastseen.resume.' + resume);
    let ws;
    try {
      ws = new WebSocket(`${base.replace('http', 'ws')}/v1/reading-sessions/${encodeURIComponent(id)}/ws?${query}`, protocols);
    } catch (error) {
      return closed(4501, error.message); // a token that cannot even be sent
    }
    socket = ws;
    ws.onmessage = ({ data }) => { if (socket === ws) receive(JSON.parse(data)); };
    ws.onclose = ({ code, reason }) => { if (socket === ws) closed(code, reason); };
    ws.onerror = () => {}; // a close follows
  }

  // As whom a guest was here before: in this tab, in another room of this page, or by this link on this device.
  async function recall(mine) {
    resume ??= kept.resume(id);
    if (resume || !invite) return;
    const next = await kept.first(invite);
    if (mine !== turn) return next();
    arrived = next;
    id ??= kept.session(invite);
    resume = kept.resume(id);
    if (resume) return;
    const guest = await kept.claim(invite);
    if (status === 'closed') kept.release();
    else if (guest) ({ id, token: resume } = guest);
  }

  // The session that the invite opens.
  async function lookup(mine) {
    const answer = await fetch(`${base}/v1/invites/${encodeURIComponent(invite)}`);
    const { session, code, detail } = await answer.json().catch(() => ({}));
    if (answer.ok || mine !== turn) return session?.id;
    refusal = { code, message: detail, retry_after_ms: answer.headers.get('retry-after') * 1000 };
    closed(answer.status === 410 ? 4510 : answer.status === 429 || answer.status >= 500 ? 1013 : 4504);
  }

  // To the server a close with 1000, or without a code, is leaving; with GIVEN_UP the connection is lost.
  function drop(code = GIVEN_UP) {
    const old = socket;
    socket = null;
    turn++;
    arrived();
    clearTimeout(timer);
    if (old?.readyState < 2) old.close(code);
  }

  function closed(code, text) {
    drop();
    stays ||= !swaps;
    const { code: error = null, message = text ?? '', reason = null, retry_after_ms: patience = 0 } = refusal ?? {};
    const cause = { code, error, message, reason };
    const refused = resume;
    if (refused && RESUME_IS_DEAD.includes(code)) forget();
    if (code === 4501 && refused && invite) connect(); // once
    else if (comesBack(code) && (code !== 4001 || getToken)) {
      notBefore = now() + patience;
      arm(retryDelay(tries++, random, patience), connect);
      setStatus('reconnecting', cause);
    } else finish(cause);
  }

  function finish(cause) {
    end(1000);
    setStatus('closed', cause);
    emit('closed', cause);
    silence();
  }

  function end(code) {
    drop(code);
    kept.release();
    for (const stop of listening.splice(0)) stop();
  }

  function silence() {
    for (const event in handlers) delete handlers[event];
  }

  function forget() {
    kept.forget(id, resume);
    resume = null;
  }

  // The page is put away: others see at once that nobody looks at it. It comes back by `wake`.
  function putAway() {
    if (status === 'closed') return;
    flush();
    drop();
    kept.release(); // another tab may go on as this guest
    notBefore ??= now();
    setStatus('reconnecting', { code: 1001, error: null, message: '', reason: 'away' });
  }

  // Being there

  function receive(frame) {
    const { type } = frame;
    deadline = Infinity;
    refusal = type === 'error' ? frame : null;
    const change = fold(view, frame);
    if (frame.server_time) serverAhead = Date.parse(frame.server_time) - now();
    session = frame.session ?? session;
    if (type === 'welcome') welcomed(frame);
    if (change?.cause === 'welcome') setStatus('connected'); // the whole list is there, which may take several frames
    if (change) changed(change);
    if (type === 'sit' && (!frame.completed || sit?.id === frame.id)) sit = frame.completed ? null : frame;
    if (type === 'expiring') session = { ...session, expires_at: frame.expires_at };
    if (refusal && wantedRef && frame.ref === wantedRef && !frame.retry) wanted = null;
    if (refusal?.code === 'rate_limited') {
      freeAt = now() + perFrame * BURST;
      isNew = Boolean(wanted); // it may have been that one
    }
    if (type === 'beat' && frame.ref === beatRef) acknowledged();
    if (isNew && status === 'connected') tick();
    if (refusal?.retry && frame.ref === offeredRef) offered = token; // may be sent again
    if (type === 'token') {
      if (frame.ref === offeredRef) token = offered;
      renewBefore(frame.expires_at, frame);
    }
    if (/^(session|sit|expiring|error)$/.test(type)) emit(type, frame);
  }

  function welcomed(frame) {
    ({ beat_ms: beatMs, dead_after_ms: deadMs } = frame);
    tries = 0;
    syncing = false;
    sit = null; // one that is under way is sent next
    if (invite) kept.keepSession(invite, id);
    if (!token && frame.resume) kept.keep(invite, id, (resume = frame.resume)); // a JWT is its own way back
    arrived();
    const { frames_per_minute = PER_MINUTE, updates_per_second } = frame.pace ?? {};
    perFrame = (60_000 / frames_per_minute) * SLACK;
    perUpdate = updates_per_second ? (500 / updates_per_second) * SLACK : perFrame;
    updateMs = Math.max(UPDATE_MS, 1000 / (updates_per_second ?? Infinity));
    freeAt = now();
    spent = beatSpent = answered = 0;
    updatedAt = -Infinity;
    isNew = Boolean(wanted);
    offered = token;
    renewBefore(token && getToken && frame.token_expires_at, frame);
    active = true; // coming in is doing something
    beat(); // the server knows by it that the welcome was read
    tick();
  }

  function changed({ gap, ...change }) {
    const { cause, joins, updates, leaves } = change;
    if (cause === 'state') syncing = false;
    if (gap && !syncing) {
      syncing = true;
      send({ type: 'sync' });
    }
    for (const participant of joins) emit('join', participant, cause);
    for (const participant of updates) emit('update', participant, cause);
    for (const { participant, reason } of leaves) emit('leave', participant, reason);
    emit('change', change);
  }

  function beat() {
    send({ type: 'beat', ref: (beatRef = ++ref), active });
    beatSpent = spent;
    sentActive = active;
    active = syncing = false; // a sync that got no answer may be asked again
    beatAt = now();
    nextBeat = beatAt + beatMs;
    deadline = Math.min(deadline, beatAt + deadMs);
  }

  // By what is left on the server's clock: the own one may be wrong.
  function renewBefore(end, { server_time }) {
    expiresAt = end ? now() + Date.parse(end) - Date.parse(server_time) : Infinity;
    renewLater();
  }

  function renewLater() {
    renewAt = now() + Math.max(ASK_MS, (expiresAt - now()) * 0.75);
  }

  // A server that does not know the frame ends the connection with 4001, and a fresh token is asked for then.
  async function renew() {
    renewLater();
    const mine = turn;
    try {
      const fresh = await getToken();
      if (mine !== turn || !fresh || fresh === offered) return;
      send({ type: 'token', ref: (offeredRef = ++ref), token: (offered = fresh) });
    } catch {} // asked again
  }

  // What was sent since the answer before may all have arrived only now.
  function acknowledged() {
    freeAt = Math.max(freeAt, now() + spent - answered);
    answered = beatSpent;
  }

  // Does what is due, then sleeps. Timers may be late: only the clock counts.
  function tick() {
    if (now() >= deadline) return arm(SECOND_LOOK_MS, () => (now() >= deadline ? closed(1006) : tick()));
    if (now() >= nextBeat) beat();
    if (now() >= renewAt) renew();
    if (now() >= nextUpdate()) sendState();
    if (isUnanswered(UNANSWERED - 1) && beatSpent === answered) beat(); // its answer says that all has arrived
    arm(Math.min(nextBeat, deadline, renewAt, nextUpdate()) - now(), tick);
  }

  function beatSoon() {
    if (status !== 'connected') return;
    if (!isUnanswered(UNANSWERED)) nextBeat = Math.min(nextBeat, Math.max(beatAt + SOON_MS, mayAt(1)));
    tick();
  }

  // The public state

  function nextUpdate() {
    return isNew && !isUnanswered(UNANSWERED) ? Math.max(updatedAt + updateMs, mayAt(SPARE)) : Infinity;
  }

  function sendState() {
    send({ type: 'update', ref: (wantedRef = ++ref), state: wanted }, perUpdate);
    isNew = false;
    updatedAt = now();
  }

  // There may be no other time to send what is newest.
  function flush() {
    if (status === 'connected' && isNew && now() >= mayAt(1)) sendState();
  }

  // The page around it

  function acted() {
    active = true;
    if (!sentActive) beatSoon();
  }

  function wake({ type, persisted }) {
    if (type === 'pageshow' && !persisted) return; // the page is new
    if (status === 'connected') {
      beat();
      deadline = Math.min(deadline, now() + PROBE_MS);
      tick();
    } else if (notBefore != null || type === 'online') arm(notBefore - now(), connect);
  }

  const listen = (to, type, handler) => {
    if (!to?.addEventListener) return;
    const how = { passive: true, capture: true };
    to.addEventListener(type, handler, how);
    listening.push(() => to.removeEventListener(type, handler, how));
  };
  for (const type of INPUT) listen(page, type, acted);
  listen(page, 'online', wake);
  listen(page, 'pageshow', wake);
  listen(page.document, 'resume', wake);
  listen(page.document, 'freeze', putAway);
  listen(page, 'pagehide', ({ persisted }) => (persisted ? putAway : flush)());
  listen(page.document, 'visibilitychange', (event) => {
    if (page.document.visibilityState !== 'visible') return flush(); // timers will be late
    active = true;
    wake(event);
  });

  // Firefox has no `pageswap`. On the way to another page it closes sockets between `beforeunload` and `pagehide`; in a tab
  // that is closed they are open until the end.
  if (options.leaveOnClose && (swaps || 'mozInnerScreenX' in page)) {
    listen(page, 'pageswap', () => { stays = true; });
    if (!swaps) listen(page, 'beforeunload', () => { stays = false; });
    listen(page, 'pagehide', ({ persisted }) => {
      if (!persisted && !stays) goodbye(); // the link leads back, as ever
      stays = false;
    });
  }

  const begin = () => arm(0, connect); // not before the first handlers are on
  if (page.document?.prerendering) listen(page.document, 'prerenderingchange', begin); // nobody has come yet
  else begin();

  function off(event, handler) {
    handlers[event]?.delete(handler);
  }

  function goodbye() {
    if (status === 'closed') return;
    flush();
    send({ type: 'leave' });
    finish({ code: 1000, error: null, message: '', reason: 'left' });
  }

  function detach() {
    if (status === 'closed') return;
    flush();
    silence();
    end();
    status = 'closed';
  }

  return {
    participants: view.participants,
    get you() { return view.you; },
    get occupancy() { return view.occupancy; },
    get session() { return session; },
    get sit() { return sit; },
    get status() { return status; },
    get bearer() { return token || resume; },
    now: () => now() + serverAhead,

    on(event, handler) {
      (handlers[event] ??= new Set()).add(handler);
      return () => off(event, handler);
    },
    off,
    update(state) {
      const text = JSON.stringify(state);
      if (new TextEncoder().encode(text).length > 2048) throw new RangeError('state is over 2 KiB');
      wanted = JSON.parse(text); // as it is now
      isNew = true;
      if (status === 'connected') tick();
    },
    setActive() {
      active = true;
      beatSoon();
    },
    startSit(seconds) {
      send({ type: 'sit', action: 'start', sit_length_seconds: seconds, ref: ++ref });
      return ref;
    },
    leave() {
      if (status !== 'closed') forget();
      goodbye();
    },
    detach,
    [Symbol.dispose ?? Symbol.for('Symbol.dispose')]: detach,
  };
}

// An address (a server's, an invite link, a socket's) and options, as options.
function settings(target, more) {
  const given = typeof target === 'string' || target instanceof URL ? { ...more, url: target } : target;
  const url = new URL(given.url ?? '/', globalThis.location?.href);
  const [, path, kind, key] = /^(.*?)(?:\/(join|v1\/reading-sessions)\/([^/]+)(?:\/ws)?)?\/*$/.exec(url.pathname);
  return {
    base: url.protocol.replace('ws', 'http') + '//' + url.host + path,
    invite: kind === 'join' ? key : url.searchParams.get('invite'),
    ...(kind && kind !== 'join' && { session: key }),
    ...given,
  };
}
