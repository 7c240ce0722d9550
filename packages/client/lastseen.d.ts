// lastseen: be present in a reading session, and know who else is.

/// <reference lib="esnext.disposable" />

/** A person in the room, whose public state has the form of `State`. */
export interface Participant<State extends object = Record<string, unknown>> {
  id: string;
  /** The user as your app knows it, the `sub` of its JWT; null for a guest. */
  user_id: string | null;
  name: string;
  role: 'host' | 'participant' | 'guest';
  status: 'active' | 'idle' | 'reconnecting';
  quality: 'good' | 'degraded' | 'poor' | null;
  /** Tabs and devices of this person. */
  connections: number;
  joined_at: string;
  last_seen_at: string;
  /** What the person last set with `room.update()`; empty before. It comes from others: their client may be older than yours. */
  state: Partial<State>;
}

export interface Session {
  id: string;
  title: string | null;
  host_user_id: string | null;
  is_active: boolean;
  max_participants: number;
  created_at: string;
  last_seen_at: string;
  expires_at: string;
  closed_at: string | null;
  close_reason: 'idle' | 'host' | 'admin' | 'expired' | null;
}

/** `connecting` until the list of the first welcome is whole, `reconnecting` after a loss; `closed` is for good. */
export type Status = 'connecting' | 'connected' | 'reconnecting' | 'closed';

/** The frame that changed who is listed. Only what a `diff` tells has happened just now. */
export type Cause = 'welcome' | 'diff' | 'state' | 'occupancy';

/** Why somebody is gone; null where the person is merely no longer listed. */
export type LeaveReason = 'left' | 'timeout' | 'removed' | 'closed' | null;

export interface Change<State extends object = Record<string, unknown>> {
  cause: Cause;
  joins: Participant<State>[];
  updates: Participant<State>[];
  leaves: { participant: Participant<State>; reason: LeaveReason }[];
}

/** Why a connection ended. */
export interface Closing {
  /** The close code; 1006 for a connection that was just lost, 1001 where the page was put away. */
  code: number;
  /** The code of the server's error frame, such as `session_full`; null where there was none. */
  error: string | null;
  /** In words, fit to be shown; may be empty. */
  message: string;
  /** With `session_closed`: `idle`, `host`, `admin` or `expired`. After `leave()`: `left`. Where the page was put away: `away`. */
  reason: string | null;
}

/** A timed sitting of the whole room. */
export interface Sit {
  id: string;
  started_at: string;
  ends_at: string;
}

/** An error frame of the server. */
export interface ErrorFrame {
  type: 'error';
  code: string;
  message: string;
  retry: boolean;
  retry_after_ms?: number;
  ref?: number;
}

export interface Events<State extends object = Record<string, unknown>> {
  /** After any frame that tells who is here, once what it says is in `participants` and `occupancy`. */
  change(change: Change<State>): void;
  join(participant: Participant<State>, cause: Cause): void;
  update(participant: Participant<State>, cause: Cause): void;
  leave(participant: Participant<State>, reason: LeaveReason): void;
  /** `cause` says what ended the connection, for `reconnecting` and `closed`. */
  status(status: Status, cause?: Closing): void;
  /** The session will close unless somebody does something: `room.setActive()`. A join, or an update to active, takes it back. */
  expiring(notice: { expires_at: string; minutes: number }): void;
  /** The session has another title or size; `room.session` has it already. */
  session(frame: { session: Session }): void;
  /** A sit of the room is under way, or has come to its end. */
  sit(sit: Sit | { id: string; completed: true }): void;
  /** The last event of a room: the person left, or the server said that there is no coming back. */
  closed(cause: Closing): void;
  error(error: ErrorFrame): void;
}

export interface Options {
  /** The server, an invite link or a socket's address. Default: the page's own server. */
  url?: string | URL;
  /** The session's id; not needed with an invite. */
  session?: string;
  /** An invite token. */
  invite?: string;
  /** Display name, 1 to 80 characters; needed for a guest. */
  name?: string;
  /** A JWT. Once it has expired, the room closes with `token_expired`; `getToken` has no such end. */
  token?: string;
  /**
   * Asked for a fresh JWT on each connect, and before the one that is in use expires: at three quarters of what is left
   * of it, until there is another, which then goes on with the same connection.
   */
  getToken?(): string | null | undefined | Promise<string | null | undefined>;
  /** For user-session tracking. */
  platform?: string;
  clientSession?: string;
  /**
   * Closing the tab is leaving, without the grace; the link leads back to the same guest all the same. A reload and another page in the same tab are not; a browser that
   * cannot tell them from a close (it has no `pageswap`, and is not Firefox) sends no leave.
   */
  leaveOnClose?: boolean;

  /** Where there is none of the platform's own, and for tests. */
  WebSocket?: unknown;
  fetch?: typeof fetch;
  /** Where the tab keeps the resume token. Default: `sessionStorage`, so that a reload is not a leave. */
  storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;
  /**
   * Where the device keeps which guests a link has made, so that the link leads back to them once their tab is closed.
   * Default: `localStorage`, unless `storage` is given; null for nowhere, as on a computer that many use. Without
   * `locks` nothing is kept there.
   */
  device?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | null;
  /** What says whether another tab is here as that guest. Default: `navigator.locks`, which pages over plain http have on localhost alone. */
  locks?: { request(name: string, options: object, then: (lock: unknown) => unknown): Promise<unknown> };
  clock?: {
    now(): number;
    setTimeout(then: () => void, ms: number): unknown;
    clearTimeout(timer: unknown): void;
  };
  random?(): number;
  /** What tells of input, visibility and the network. Default: the window. */
  page?: unknown;
}

export interface Room<State extends object = Record<string, unknown>> {
  /** Who is here, by id: always the same Map, always what the server last told. In a very large room only oneself. */
  readonly participants: ReadonlyMap<string, Participant<State>>;
  /** The own participant's id; null before the welcome and for an observer. */
  readonly you: string | null;
  /** How many are here, also where they are too many to be listed. */
  readonly occupancy: number;
  readonly session: Session | null;
  /** The sit that is under way. */
  readonly sit: Sit | null;
  readonly status: Status;
  /** Shows over HTTP who one is here: `Authorization: Bearer …`. The newest JWT that the server has taken, or a guest's resume token. */
  readonly bearer: string | null | undefined;

  /** The server's clock, in milliseconds since 1970; NaN before the welcome. */
  now(): number;

  /** Returns the function that ends the subscription. */
  on<E extends keyof Events>(event: E, handler: Events<State>[E]): () => void;
  off<E extends keyof Events>(event: E, handler: Events<State>[E]): void;
  /**
   * Replaces one's public state, an object of at most 2 KiB, as it is now. May be called as often as you like: the newest
   * one is sent at most ten times a second, or as often as the server takes it; sent again after each reconnect.
   */
  update(state: State): void;
  /** The person is still here: told to the server at once. Outside a browser nothing else tells it. */
  setActive(): void;
  /** Starts a sit for everybody: only a host may, and only while connected. Returns the `ref` that an error would name. */
  startSit(seconds: number): number;
  /** Leaves for good, now. This browser forgets as whom. */
  leave(): void;
  /**
   * Gives the room up without leaving, for what unmounts a component or loads a module anew. Others see the person as
   * reconnecting until the grace is over, or until a `join` comes back as the same person. No event follows.
   */
  detach(): void;
  /** The same, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Joins a room, and stays in it until `leave()` or `detach()`, or until the server says that there is no coming back.
 *
 * Each call is a connection of its own. Two of one session on a page are one person with two connections, also where
 * both come in by one use of a link: the second waits for the first.
 */
export function join<State extends object = Record<string, unknown>>(options: Options): Room<State>;
export function join<State extends object = Record<string, unknown>>(url: string | URL, options?: Options): Room<State>;

/**
 * Whether one comes back to the room as who one was, without an invite or a name: in this tab, or by a link that was
 * opened on this device before, in a tab that is closed now.
 */
export function remembered(options: Options): Promise<boolean>;
export function remembered(url: string | URL, options?: Options): Promise<boolean>;

/** Whether a client comes back after this close code. */
export function comesBack(code: number): boolean;

/** Milliseconds before the nth try, from 0: full jitter, and at least what the server asked for. */
export function retryDelay(n: number, random: () => number, atLeast?: number): number;
