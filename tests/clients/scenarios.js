// What is tried with each client. Each scenario gives the text of a cell: ✓ or more where it went well, – where the
// client has no such way, ✗ and why where it did not.

import { setTimeout as sleep } from 'node:timers/promises';

import { token } from '../browser/harness/token.js';
import { Connection, inWords, patiently, until } from './connection.js';
import { limitOf, startSender } from './limits.js';
import { Crowd, hasCrowd, Room } from './rooms.js';

const IDLE_MS = 70_000;
/** Pings come every 25 s: by then two were answered. */
const SEEN_AFTER_MS = 45_000;
const NO_WAY = '–';
const WELL = '✓';

const bearer = (claims) => ({ Authorization: `Bearer ${token(claims)}` });
const service = bearer({ role: 'service_role' });

/** What a scenario gives, or why it failed. */
async function cell(scenario) {
  try {
    return await patiently(scenario);
  } catch (error) {
    return `✗ ${error.message}`;
  }
}

const webSocketsOnly = (scenario) => (client, ...rest) => (client.events ? NO_WAY : scenario(client, ...rest));

/** The same scenario for all clients at once: a map of cells. */
async function forAll(clients, scenario) {
  return new Map(await Promise.all(clients.map(async (client, number) => [client, await cell(() => scenario(client, number))])));
}

// --- Joining ---

async function joinAsGuest(client, room) {
  const connection = new Connection(client, room.socket({ invite: room.invite, name: client.name }));
  const { you } = await connection.joined();
  await connection.until('entry of its own', () => connection.people.get(you)?.role === 'guest');
  return connection;
}

async function joinAsUser(client, room, sub, protocols, headers) {
  const connection = new Connection(client, room.socket({ invite: room.invite }), { protocols, headers });
  const { you } = await connection.joined();
  await connection.until(`entry of ${sub}`, () => connection.people.get(you)?.user_id === sub);
  if (connection.opened !== 'lastseen.v1') throw new Error(`subprotocol ${connection.opened}`);
  return connection;
}

/** By its header; an event stream is for who is in the session already, as its host is. */
async function byHeader(client, room) {
  const sub = `${client.name} by header`;
  if (client.events) {
    const connection = new Connection(client, room.events(), { headers: bearer({ sub: room.host }) });
    await connection.joined();
    connection.kill();
    return WELL;
  }
  const connection = await joinAsUser(client, room, sub, ['lastseen.v1'], bearer({ sub, name: 'User' }));
  connection.kill();
  return WELL;
}

/** By its subprotocol; gives the connection too, which is yet to leave. */
async function bySubprotocol(client, room) {
  const sub = `${client.name} by subprotocol`;
  return joinAsUser(client, room, sub, ['lastseen.v1', `lastseen.bearer.${token({ sub, name: 'User' })}`], {});
}

async function asService(client, room) {
  const connection = new Connection(client, client.events ? room.events() : room.socket(), { headers: service });
  const { you } = await connection.joined();
  connection.kill();
  if (you !== null) throw new Error('it was taken for somebody');
  return WELL;
}

/** What others see of the library's own `close()`. */
async function leaving(connection, observer) {
  const { you } = connection.welcome;
  await connection.beat(); // who never sent anything may be dropped at once
  connection.close();
  return until(observer, 'end of its connection', () => {
    if (observer.people.left.has(you)) return observer.people.left.get(you);
    return observer.people.get(you)?.status === 'reconnecting' && 'lost';
  });
}

async function join(clients, server) {
  const room = await Room.open(server, 'Joining');
  const observer = await room.observe();
  const invite = await forAll(clients, webSocketsOnly(async (client) => {
    (await joinAsGuest(client, room)).kill();
    return WELL;
  }));
  const header = await forAll(clients, (client) => byHeader(client, room));
  const connections = new Map();
  const subprotocol = await forAll(clients, webSocketsOnly(async (client) => {
    connections.set(client, await bySubprotocol(client, room));
    return WELL;
  }));
  const leave = await forAll(clients, webSocketsOnly((client) => leaving(connections.get(client), observer)));
  const observing = await forAll(clients, (client) => asService(client, room));
  observer.end();
  return { invite, header, subprotocol, service: observing, leave };
}

// --- Being idle, and a restart ---

/** Joins that say nothing from then on; `idled` is called when they have been silent for long enough. */
async function beIdle(clients, server) {
  const room = await Room.open(server, 'Silence');
  const connections = new Map();
  const joined = await forAll(clients, async (client) => {
    const connection = client.events ? new Connection(client, room.events(), { headers: bearer({ sub: room.host }) }) : await joinAsGuest(client, room);
    connections.set(client, connection);
    await connection.joined();
  });
  const since = Date.now();

  async function answeredPings({ welcome: { you } }) {
    for (;;) {
      const person = (await room.participants()).get(you);
      if (!person) throw new Error('it is gone');
      if (Date.parse(person.last_seen_at) - Date.parse(person.joined_at) >= SEEN_AFTER_MS) return;
      if (Date.now() - since > 2 * IDLE_MS) throw new Error('it answers no Ping');
      await sleep(1000);
    }
  }

  async function idled() {
    await sleep(Math.max(0, since + IDLE_MS - Date.now()));
    const cells = forAll(clients, async (client) => {
      if (joined.get(client)) throw new Error(joined.get(client));
      const connection = connections.get(client);
      if (connection.end) throw new Error(inWords(connection.end));
      if (!client.events) await answeredPings(connection);
      else if (connection.types.includes('')) throw new Error('comments come as events');
      await connection.until('frame after the silence', () => connection.types.includes('session'));
      return WELL;
    });
    await room.rename('No more silence');
    return cells;
  }

  /** The server stops in good order and starts again. */
  async function restart() {
    const before = await room.participants();
    const early = await room.observe();
    await server.stop();
    await server.start();
    const late = await room.observe();
    const cells = await forAll(clients, async (client) => {
      const connection = connections.get(client);
      if (!connection?.welcome) throw new Error('it was not there');
      if (client.events) return comeBackToEvents(client, connection, room);
      const { closed } = await connection.over();
      if (closed !== 1012) throw new Error(`not seen to be 1012: ${inWords(connection.end)}`);
      const { you, resume } = connection.welcome;
      const again = new Connection(client, room.socket({ resume }));
      const { you: now } = await again.joined();
      if (now !== you) throw new Error('it came back as somebody else');
      await until(late, 'return', () => ['active', 'idle'].includes(late.people.get(you)?.status));
      if (early.people.left.has(you) || late.people.left.has(you)) throw new Error('it was shown as gone');
      return WELL;
    });
    // One who came twice would be here too.
    const after = await room.participants();
    for (const id of after.keys()) if (!before.has(id)) throw new Error(`${after.get(id).name} is here twice after the restart`);
    early.end();
    late.end();
    return cells;
  }
  return { idled, restart };
}

/** Some event sources come back by themselves, with the id of the last event. */
async function comeBackToEvents(client, connection, room) {
  await until(connection, 'end or return', () => connection.ended || connection.types.filter((type) => type === 'state' || type === 'welcome').length > 1);
  if (!connection.ended) return `${WELL} by itself`;
  const again = new Connection(client, room.events(), { headers: bearer({ sub: room.host }) });
  await again.joined();
  return WELL;
}

// --- A room of 300 ---

/** Comes into the crowd, and is there when all 300 change at once. The longest frame is given too. */
async function meetCrowd(clients, server) {
  const room = await Room.open(server, 'Crowd');
  const crowd = await Crowd.join(room);
  const observer = await room.observe();
  crowd.show(1);
  await until(observer, 'whole crowd', () => hasCrowd(observer.people, 1));
  const connections = new Map();
  const came = await forAll(clients, async (client) => {
    const connection = client.events ? new Connection(client, room.events(), { headers: service }) : new Connection(client, room.socket({ invite: room.invite, name: client.name }));
    connections.set(client, connection);
    await connection.until('list of 300 people', () => hasCrowd(connection.people, 1));
  });
  crowd.show(2);
  const cells = await forAll(clients, async (client) => {
    if (came.get(client)) return came.get(client);
    const connection = connections.get(client);
    await connection.until('300 updates', () => hasCrowd(connection.people, 2));
    return WELL;
  });
  let longest = 0;
  for (const connection of connections.values()) {
    longest = Math.max(longest, connection.longest);
    connection.kill();
  }
  observer.end();
  crowd.end();
  return { crowd: cells, longest };
}

// --- Being refused ---

const NO_INVITE = 'lsi_no_such_invite';

async function refusals(clients, server) {
  const room = await Room.open(server, 'Refusals');
  const query = { invite: NO_INVITE, name: 'Nobody' };
  const closed = await forAll(clients, webSocketsOnly(async (client) => {
    const connection = new Connection(client, room.socket(query));
    const end = await connection.over();
    if (end.closed !== 4504) throw new Error(inWords(end));
    return `${end.closed} ${end.reason}`.trim();
  }));
  const problem = await forAll(clients, async (client) => {
    const headers = { Accept: client.events ? 'text/event-stream' : 'application/problem+json' };
    const connection = new Connection(client, client.events ? room.events() : room.socket(query), {
      headers: client.events ? { ...headers, ...bearer({ sub: 'a stranger' }) } : headers,
    });
    const { refused, body, ...end } = await connection.over();
    if (!refused) throw new Error(inWords(end));
    return body ? `${refused} ${JSON.parse(body).code}` : `${refused}`;
  });
  return { closed, problem };
}

// --- All of it ---

/** Everything with all of these clients; the server is started anew in between. Gives a map of cells for each scenario, and the bytes of the longest frame. */
export async function tryAll(clients, server) {
  const sender = await startSender();
  try {
    const idle = await beIdle(clients, server);
    const joins = await join(clients, server);
    const limit = await forAll(clients, webSocketsOnly((client, number) => limitOf(client, sender, number)));
    const { crowd, longest } = await meetCrowd(clients, server);
    const refused = await refusals(clients, server);
    const idled = await idle.idled();
    const restart = await idle.restart();
    return { cells: { limit, ...joins, idle: idled, crowd, ...refused, restart }, longest };
  } finally {
    sender.end();
  }
}
