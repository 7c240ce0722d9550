// The steady profile of `lastseen load`, for k6:
//   k6 run -e LASTSEEN_TOKEN="$(lastseen token --role service_role)" -e SESSIONS=10 -e PER_SESSION=10 examples/load/k6.js
// Without a token sessions are opened as a guest, which is limited. It fails where a step is missing, a count is wrong
// or a beat has no answer.

import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';
import { WebSocket } from 'k6/websockets';

import { address, person } from './people.js';

const env = (name, otherwise) => __ENV[name] ?? otherwise;
const URL = env('LASTSEEN_URL', 'http://127.0.0.1:8080');
const TOKEN = env('LASTSEEN_TOKEN', '');
const SESSIONS = Number(env('SESSIONS', 5));
const PER_SESSION = Number(env('PER_SESSION', 10));
const RAMP = Number(env('RAMP', 50)); // people a second
const HOLD_MS = Number(env('HOLD_SECONDS', 60)) * 1000; // once the last one is due
const BEAT_MS = Number(env('BEAT_SECONDS', 30)) * 1000;
const PEOPLE = SESSIONS * PER_SESSION;

export const options = {
  scenarios: { steady: { executor: 'per-vu-iterations', vus: PEOPLE, iterations: 1, maxDuration: '24h' } },
  thresholds: {
    lastseen_joined: [`count==${PEOPLE}`],
    lastseen_gaps: ['count==0'],
    lastseen_wrong_counts: ['count==0'],
    lastseen_unanswered: ['count==0'],
    lastseen_errors: ['count==0'],
  },
};

const counters = {};
for (const name of ['joined', 'frames', 'beats', 'gaps', 'wrong_counts', 'unanswered', 'errors']) counters[name] = new Counter(`lastseen_${name}`);
const trends = { join_ms: new Trend('lastseen_join_ms', true), beat_ms: new Trend('lastseen_beat_ms', true) };
const count = (name) => counters[name].add(1);
const time = (name, ms) => trends[name].add(ms);

export function setup() {
  const headers = { 'content-type': 'application/json', ...(TOKEN && { authorization: `Bearer ${TOKEN}` }) };
  const body = JSON.stringify({ title: 'k6', max_participants: Math.max(10, 2 * PER_SESSION) });
  return Array.from({ length: SESSIONS }, () => {
    const answer = http.post(`${URL}/v1/reading-sessions`, body, { headers });
    if (answer.status !== 201) throw new Error(`no session: ${answer.status} ${answer.body}`);
    const { id, invite } = answer.json();
    return { id, invite: invite.token };
  });
}

export default function (sessions) {
  const number = __VU - 1;
  const delay = (number / RAMP) * 1000;
  const due = Date.now() + delay; // latencies count from here, however late we are
  setTimeout(() => {
    const socket = new WebSocket(address(URL, sessions[number % SESSIONS], `Reader ${number}`), 'lastseen.v1');
    const me = person({ send: (text) => socket.send(text), count, time });
    socket.onerror = ({ error }) => { count('errors'); console.error(error); };
    socket.onmessage = ({ data }) => {
      if (me.hear(data).type !== 'welcome') return;
      count('joined');
      time('join_ms', Date.now() - due);
      const beating = setInterval(() => me.beat(), BEAT_MS);
      const left = (PEOPLE / RAMP) * 1000 - delay + HOLD_MS;
      setTimeout(() => {
        clearInterval(beating);
        setTimeout(() => me.leave(), 2000); // the last answers arrive
      }, left);
    };
  }, delay);
}
