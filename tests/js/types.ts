// What the types of the package promise; each `@ts-expect-error` is a line that may not compile. package.test.js compiles it
// where the package is installed.

import { comesBack, join, remembered, type Change, type Participant, type Room, type Session, type Sit, type Status } from 'lastseen';
import { fold, presence } from 'lastseen/presence';
import { fakeServer } from 'lastseen/testing';

interface Reading {
  page: number;
  typing?: boolean;
}

// A state with a type

const room: Room<Reading> = join<Reading>('https://presence.example/join/lsi_1', { name: 'Ada' });
room.update({ page: 3 });
room.update({ page: 3, typing: true });
// @ts-expect-error: no page
room.update({ typing: true });
// @ts-expect-error: no number
room.update({ page: 'three' });

const people: Participant<Reading>[] = [...room.participants.values()];
const pages: (number | undefined)[] = people.map(({ state }) => state.page);
// @ts-expect-error: others may not have shown it yet
const sure: number[] = people.map(({ state }) => state.page);
// @ts-expect-error: the Map is the room's
room.participants.clear();

const off: () => void = room.on('change', (change: Change<Reading>) => change.joins.map((person) => person.state.page));
room.on('join', ({ state: { page } }, cause) => [page?.toFixed(), cause satisfies 'welcome' | 'diff' | 'state' | 'occupancy']);
room.on('leave', (person, reason) => [person.name, reason satisfies 'left' | 'timeout' | 'removed' | 'closed' | null]);
room.on('status', (status: Status, cause) => [status, cause?.code.toFixed()]);
// @ts-expect-error: no such event
room.on('changes', () => {});

// ... and without one

const plain = join({ url: new URL('https://presence.example'), session: 's', getToken: async () => 'jwt', device: null });
plain.update({ anything: [1, 'two', { three: 3 }] });
const unknown: unknown = plain.participants.get('a')?.state.anything;
// @ts-expect-error: what it is is not known
const text: string = plain.participants.get('a')?.state.anything;
const session: Session | null = plain.session;
const sit: Sit | null = plain.sit;
// @ts-expect-error: a state is an object
join<string>('https://presence.example');

// Ends

room.leave();
plain.detach();
{
  using once = join('https://presence.example/join/lsi_1');
  once.setActive();
}
const known: Promise<boolean> = remembered('https://presence.example/join/lsi_1');
const back: boolean = comesBack(4008);

// The pure part, and the fake server

const change = fold(presence(), { type: 'diff' });
const gap: boolean | undefined = change?.gap;

const server = fakeServer({ grace: 1_000 });
const opened = server.open({ title: 'Evening' });
const tested = join<Reading>(opened.url, { name: 'Ada', ...server.newTab() });
const tab = server.newTab();
join(opened.invite({ role: 'host', maxUses: 1 }), { ...tab, token: server.token({ sub: 'u1' }) });
tab.page.putAway();
const bob = opened.join('Bob', { state: { page: 2 } satisfies Reading });
bob.update({ page: 3 });
await server.pass(100);

export { back, gap, known, off, pages, session, sit, sure, tested, text, unknown };
