// Presence with Socket.IO 4, as its users write it: rooms, joins and leaves told to all, a beat that is acknowledged.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });
const rooms = new Map();

io.on('connection', (socket) => {
  const { room: name, name: shown } = socket.handshake.auth;
  const room = rooms.get(name) ?? new Map();
  rooms.set(name, room);
  const person = { id: socket.id, name: shown, state: {} };
  room.set(socket.id, person);
  socket.join(name);
  socket.to(name).emit('join', person);
  socket.emit('welcome', { people: [...room.values()] });

  socket.on('beat', (beat, answer) => answer({ ref: beat.ref, server_time: new Date().toISOString() }));
  socket.on('update', (state) => {
    person.state = state;
    io.to(name).emit('update', { id: person.id, state });
  });
  socket.on('disconnect', () => {
    room.delete(socket.id);
    if (room.size === 0) rooms.delete(name);
    io.to(name).emit('leave', { id: socket.id });
  });
});

http.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}`);
});
process.on('SIGINT', () => process.exit(0));
