// The sessions on the server, an observer of one, and the 300 people of the crowd.

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import { WebSocket } from 'ws';

import { ask } from '../browser/harness/server.js';
import { token } from '../browser/harness/token.js';
import { patiently, People } from './connection.js';

export const CROWD = 300;

const service = () => token({ role: 'service_role' });
const socketTo = (url, headers = {}) => new WebSocket(url, ['lastseen.v1'], { headers, perMessageDeflate: false, skipUTF8Validation: true });

/** A session, hosted by a user `host`. */
export class Room {
  static async open(server, title) {
    const host = `host of ${title}`;
    const call = { token: token({ sub: host, name: 'Host' }), body: { title, max_participants: 1000 } };
    const room = new Room(server, await patiently(() => ask(server, 'POST', '/v1/reading-sessions', call)));
    room.host = host;
    return room;
  }

  constructor(server, { id, invite }) {
    Object.assign(this, { server, id, invite: invite.token });
  }

  /** The address of its WebSocket, with these keys in the query. */
  socket(query = {}) {
    const url = new URL(`/v1/reading-sessions/${this.id}/ws`, this.server.origin.replace('http', 'ws'));
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return url;
  }

  /** The address of its event stream. */
  events() {
    return new URL(`/v1/reading-sessions/${this.id}/events`, this.server.origin);
  }

  async participants() {
    const { items } = await patiently(() => ask(this.server, 'GET', `/v1/reading-sessions/${this.id}/participants`, { token: service() }));
    return new Map(items.map((person) => [person.id, person]));
  }

  /** Everybody who is connected receives a frame `session`. */
  rename(title) {
    return patiently(() => ask(this.server, 'PATCH', `/v1/reading-sessions/${this.id}`, { token: service(), body: { title } }));
  }

  /** What an observer sees, by a socket of the service. */
  async observe() {
    const observer = Object.assign(new EventTarget(), { people: new People(), end: () => socket.terminate() });
    const socket = socketTo(this.socket(), { authorization: `Bearer ${service()}` });
    socket.on('error', () => {});
    socket.on('message', (text) => {
      observer.people.take(JSON.parse(text));
      observer.dispatchEvent(new Event('change'));
    });
    await once(socket, 'message');
    return observer;
  }
}

const STATE_BYTES = 2048;

/** 300 guests with a state of 2 KiB each, by sockets that look at nothing. */
export class Crowd {
  static async join(room) {
    const crowd = new Crowd();
    const numbers = Array.from({ length: CROWD }, (_, number) => number);
    crowd.sockets = await Promise.all(numbers.map((number) => crowd.#reader(room, `Reader ${number}`)));
    return crowd;
  }

  /** A server that is busy may ask to come back. */
  async #reader(room, name) {
    for (;;) {
      const socket = socketTo(room.socket({ invite: room.invite, name }));
      const [text] = await once(socket, 'message');
      const { type, code, retry, retry_after_ms } = JSON.parse(text);
      if (type === 'welcome') return socket;
      socket.terminate();
      if (!retry) throw new Error(`the crowd was refused: ${code}`);
      await sleep(retry_after_ms);
    }
  }

  /** Everybody shows a new state at once. */
  show(turn) {
    const rest = STATE_BYTES - JSON.stringify({ turn, page: '' }).length;
    const state = { turn, page: 'x'.repeat(rest) };
    for (const socket of this.sockets) socket.send(JSON.stringify({ type: 'update', state }));
  }

  end() {
    for (const socket of this.sockets) socket.terminate();
  }
}

/** Whether these people include the whole crowd, with the state of this turn. */
export function hasCrowd(people, turn) {
  let count = 0;
  for (const { state } of people.values()) count += state.turn === turn && state.page.length > 2000;
  return count === CROWD;
}
