// A lastseen server for the tests of your app. Nothing happens but while time passes: `await server.pass(0)`.

import type { Options, Participant } from './lastseen.js';

/** Times in ms; each is what a server has unless it is set otherwise. */
export interface FakeServerSettings {
  beat?: number;
  /** After this long a connection has its first `quality`. */
  ping?: number;
  deadAfter?: number;
  grace?: number;
  idleAfter?: number;
  /** How long changes are gathered for one diff. */
  diff?: number;
  /** With more people than this, counts come instead of names. */
  detailLimit?: number;
  maxParticipants?: number;
  updatesPerSecond?: number;
  framesPerMinute?: number;
  /** What the server's clock shows first, an RFC 3339 time. */
  startsAt?: string;
}

export interface FakeServer {
  /** Opens a session. */
  open(session?: { title?: string | null; maxParticipants?: number }): FakeSession;
  /** Options for `join`, as in a tab of its own: `join(session.url, { name: 'Ada', ...server.newTab() })`. With an earlier one, the same tab after a reload. */
  newTab(before?: Pick<FakeTab, 'storage'>): FakeTab;
  /** A JWT for `token` or `getToken`. Others are believed as well: this server looks at no signature. */
  token(claims: { sub: string; name?: string; seconds?: number }): string;
  /** Milliseconds pass: frames arrive, changes are told, graces run out. */
  pass(ms: number): Promise<void>;
  /** The network is gone: all sockets are lost, and no new one opens until `mend`. */
  cut(): void;
  mend(): void;
  /** The server is restarted: connections end with 1012, and nobody leaves. */
  restart(): void;
  clock: NonNullable<Options['clock']>;
}

export interface FakeTab extends Required<Pick<Options, 'WebSocket' | 'fetch' | 'clock' | 'random' | 'storage'>> {
  device: null;
  page: FakePage;
}

/** The window around a room: what people and browsers do to it. */
export interface FakePage extends EventTarget {
  /** The person does something. */
  input(type?: string): void;
  hide(): void;
  show(): void;
  /** Another page takes its place, and this one goes into the back/forward cache. */
  putAway(): void;
  comeBack(): void;
  /** The network is back. */
  online(): void;
}

export interface FakeSession {
  readonly id: string;
  /** An invite link for guests. */
  readonly url: string;
  readonly hostUrl: string;
  invite(invite?: { role?: Participant['role']; maxUses?: number }): string;
  revoke(url: string): void;
  readonly participants: Participant[];
  readonly occupancy: number;
  /** Somebody comes in, without a page of their own. */
  join(name: string, person?: { userId?: string; role?: Participant['role']; state?: object }): FakePerson;
  /** A host removes the person with this id or name. */
  remove(who: string): void;
  rename(title: string | null): void;
  close(reason?: 'idle' | 'host' | 'admin' | 'expired'): void;
  /** The session says that it expires. */
  expiring(minutes?: number): void;
}

export interface FakePerson {
  readonly id: string;
  update(state: object): void;
  /** The person does something: not idle any more. */
  act(): void;
  /** The connection is lost: reconnecting, and a leave after the grace. */
  lose(): void;
  back(): void;
  leave(): void;
}

export function fakeServer(settings?: FakeServerSettings): FakeServer;
