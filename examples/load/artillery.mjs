// What artillery.yml calls: sessions over HTTP, and a person behind each socket.

import { address, person } from './people.js';

const URL = process.env.LASTSEEN_URL ?? 'http://127.0.0.1:8080';
const PER_SESSION = Number(process.env.PER_SESSION ?? 10);

const sessions = []; // promises of them: arrivals do not wait for each other
let arrivals = 0;

async function open() {
  const token = process.env.LASTSEEN_TOKEN;
  const answer = await fetch(`${URL}/v1/reading-sessions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ title: 'Artillery', max_participants: Math.max(10, 2 * PER_SESSION) }),
  });
  if (!answer.ok) throw new Error(`no session: ${answer.status} ${await answer.text()}`);
  const { id, invite } = await answer.json();
  return { id, invite: invite.token };
}

/** Where whoever comes now connects to. */
export function choose(socket, context, next) {
  const number = arrivals++;
  const room = Math.floor(number / PER_SESSION);
  context.vars.due = Date.now();
  sessions[room] ??= open();
  sessions[room].then((session) => {
    socket.target = address(URL, session, `Reader ${number}`);
    next();
  }, next);
}

/** Hears frames from here on. */
export async function listen(context, events) {
  const { vars, ws } = context;
  const count = (name, n = 1) => events.emit('counter', `lastseen.${name}`, n);
  const time = (name, ms) => events.emit('histogram', `lastseen.${name}`, ms);
  vars.me = person({ send: (text) => ws.send(text), count, time });
  for (const wrong of ['gaps', 'wrong_counts', 'unanswered', 'errors']) count(wrong, 0); // there to be compared
  vars.until = Date.now() + vars.hold * 1000;
  ws.on('message', (data) => {
    const { type } = vars.me.hear(String(data));
    if (vars.joined || (type !== 'welcome' && type !== 'state')) return;
    vars.joined = true;
    count('joined');
    time('join_ms', Date.now() - vars.due);
  });
}

export async function beat({ vars }) {
  vars.me.beat();
}

export function stays({ vars }, next) {
  next(Date.now() < vars.until);
}

export async function leave({ vars }) {
  vars.me.leave();
}
