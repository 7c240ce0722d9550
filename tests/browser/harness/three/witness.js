// Somebody in the room who has no browser, and remembers what was seen of the others.

import WebSocket from 'ws';

import { join } from '../../../../packages/client/lastseen.js';
import { until } from '../browser.js';
import { later } from '../later.js';

const nothing = { getItem: () => null, setItem() {}, removeItem() {} };

const come = (url, name) => join(url, { name, WebSocket, storage: nothing, page: new EventTarget() });

/** Comes in as Ada. */
export async function witness(t, url) {
  const room = come(url, 'Ada');
  later(t, () => room.leave());
  const all = []; // "Bob comes", "Bob idle", "Bob timeout"
  let looked = 0;
  const note = ({ id, name }, what) => { if (id !== room.you) all.push(`${name} ${what}`); };
  const statuses = new Map();
  room.on('join', (person) => {
    statuses.set(person.id, person.status);
    note(person, 'comes');
  });
  room.on('update', (person) => {
    if (statuses.get(person.id) !== person.status) note(person, person.status);
    statuses.set(person.id, person.status);
  });
  room.on('leave', note);
  await until('Ada is in the room', () => room.status === 'connected');

  const of = (name) => [...room.participants.values()].find((each) => each.name === name);

  /** Waits for the next of these that is seen, and gives it. */
  async function sees(...wanted) {
    let found;
    await until(`Ada sees that ${wanted.join(' or ')}`, () => {
      found = all.findIndex((each, n) => n >= looked && wanted.includes(each));
      return found >= 0;
    });
    looked = found + 1;
    return all[found];
  }

  return {
    room,
    of,
    sees,
    /** Waits until this one comes in, and gives the id. */
    async comes(name) {
      await sees(`${name} comes`);
      return of(name).id;
    },
    /** All that was seen. */
    all: () => [...all],
  };
}

/** Others, one after the other, as many as are wanted. */
export async function crowd(t, url, size) {
  const rooms = [];
  later(t, () => rooms.forEach((room) => room.leave()));
  for (let n = 0; n < size; n++) {
    const room = come(url, `Reader ${n}`);
    rooms.push(room);
    await until(`Reader ${n} is in the room`, () => room.status === 'connected');
  }
  return rooms;
}
