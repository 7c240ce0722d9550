// Presence with ws 8, as its users write it: rooms, joins and leaves told to all, a beat with its answer.
import { WebSocketServer } from 'ws';

const rooms = new Map();
let people = 0;

function tell(room, message) {
  const text = JSON.stringify(message);
  for (const socket of room.keys()) socket.send(text);
}

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

server.on('connection', (socket, request) => {
  const query = new URL(request.url, 'http://localhost').searchParams;
  const name = query.get('room');
  const room = rooms.get(name) ?? new Map();
  rooms.set(name, room);
  const person = { id: `p${people++}`, name: query.get('name'), state: {} };
  tell(room, { type: 'join', person });
  room.set(socket, person);
  socket.send(JSON.stringify({ type: 'welcome', you: person.id, people: [...room.values()] }));

  socket.on('message', (data) => {
    const message = JSON.parse(data);
    if (message.type === 'beat') {
      socket.send(JSON.stringify({ type: 'beat', ref: message.ref, server_time: new Date().toISOString() }));
    } else if (message.type === 'update') {
      person.state = message.state;
      tell(room, { type: 'update', id: person.id, state: person.state });
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    room.delete(socket);
    if (room.size === 0) rooms.delete(name);
    else tell(room, { type: 'leave', id: person.id });
  });
});

process.on('SIGINT', () => process.exit(0));
