// The rooms of the fake server: who is in them, and what the others are sent of it, as the real one tells it.

/** `send(socket, frame)` is how a connection is reached. */
export function fakeRooms({ rules, clock, id, time, send }) {
  function sessionOf(room) {
    const { id, title, closed } = room;
    return {
      id,
      title,
      host_user_id: null,
      is_active: !closed,
      max_participants: room.maxParticipants,
      created_at: room.createdAt,
      last_seen_at: time(room.seenAt),
      expires_at: time(room.seenAt + 3_600_000),
      closed_at: closed?.at ?? null,
      close_reason: closed?.reason ?? null,
    };
  }

  function personOf(room, { name, role, userId, state = {} }) {
    const person = { id: id(), name, role, userId, state, status: 'active', quality: null, connections: new Set(), joinedAt: null, seenAt: 0, timer: null, removed: false };
    person.resume = `lsr_${person.id}`;
    room.known.set(person.id, person);
    return person;
  }

  const shown = (person) => ({
    id: person.id,
    user_id: person.userId,
    name: person.name,
    role: person.role,
    status: person.status,
    quality: person.quality,
    connections: person.connections.size,
    joined_at: person.joinedAt,
    last_seen_at: time(person.seenAt),
    state: person.state,
  });

  // Coming, changing, going

  function enter(room, person, connection) {
    if (!room.people.has(person.id)) {
      note(room, person, false);
      person.joinedAt = time();
      room.people.set(person.id, person);
    } else note(room, person, true);
    person.connections.add(connection);
    act(room, person);
    connection.ping = clock.setTimeout(() => {
      note(room, person, true);
      person.quality = 'good'; // the first Pong is in
    }, rules.ping);
  }

  function seen(room, person) {
    room.seenAt = person.seenAt = clock.now();
  }

  function act(room, person) {
    seen(room, person);
    if (!room.people.has(person.id) || person.connections.size === 0) return;
    show(room, person, 'active');
    clock.clearTimeout(person.timer);
    person.timer = clock.setTimeout(() => show(room, person, 'idle'), rules.idleAfter);
  }

  function show(room, person, status) {
    if (person.status === status) return;
    note(room, person, true);
    person.status = status;
  }

  function update(room, person, state) {
    note(room, person, true);
    person.state = JSON.parse(JSON.stringify(state));
    act(room, person);
  }

  function lose(room, person, connection) {
    if (!unbind(room, person, connection) || person.connections.size > 0) return;
    person.status = 'reconnecting';
    person.quality = null;
    clock.clearTimeout(person.timer);
    person.timer = clock.setTimeout(() => gone(room, person, 'timeout'), rules.grace);
  }

  function leave(room, person, connection) {
    if (unbind(room, person, connection) && person.connections.size === 0) gone(room, person, 'left');
  }

  function unbind(room, person, connection) {
    if (!person.connections.has(connection)) return false;
    note(room, person, true);
    clock.clearTimeout(connection.ping);
    return person.connections.delete(connection);
  }

  function gone(room, person, reason) {
    if (!room.people.has(person.id)) return;
    note(room, person, true);
    clock.clearTimeout(person.timer);
    person.quality = null;
    for (const { ping } of person.connections) clock.clearTimeout(ping);
    person.connections.clear();
    room.people.delete(person.id);
    room.left.set(person.id, reason);
  }

  // What others are sent

  function note(room, person, wasHere) {
    if (!room.changed.has(person.id)) room.changed.set(person.id, wasHere);
    room.timer ??= clock.setTimeout(() => publish(room), rules.diff);
  }

  function publish(room) {
    const { changed, left } = room;
    [room.timer, room.changed, room.left] = [null, new Map(), new Map()];
    if (room.closed) return;
    const occupancy = room.people.size;
    const detail = occupancy <= (room.hadDetail ? rules.detailLimit : Math.min(rules.detailLimit * 0.9, Math.max(1, rules.detailLimit - 1)));
    if (!detail) {
      if (occupancy !== room.told) tell(room, { type: 'occupancy', seq: ++room.seq, occupancy });
    } else if (!room.hadDetail) {
      room.hadDetail = true;
      tell(room, stateFor(room));
    } else {
      const here = [...changed].filter(([id]) => room.people.has(id));
      const pick = (wasHere) => here.filter(([, was]) => was === wasHere).map(([id]) => shown(room.people.get(id)));
      const leaves = [...left].filter(([id]) => !room.people.has(id)).map(([id, reason]) => ({ id, reason }));
      tell(room, { type: 'diff', seq: ++room.seq, occupancy, joins: pick(false), updates: pick(true), leaves });
    }
    room.hadDetail = detail;
    room.told = occupancy;
  }

  function tell(room, frame) {
    for (const { connections } of room.people.values()) {
      for (const { socket } of connections) if (socket) send(socket, frame);
    }
  }

  const peopleFor = (room, own) => (room.people.size > rules.detailLimit ? [own] : [...room.people.values()]).map(shown);
  const stateFor = (room, own) => ({ type: 'state', seq: room.seq, occupancy: room.people.size, participants: peopleFor(room, own) });

  return { sessionOf, personOf, shown, enter, seen, act, update, lose, leave, gone, tell, peopleFor, stateFor };
}
