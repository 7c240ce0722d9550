// The real server, started for a test on a port and a database of its own, and ended with it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const root = new URL('../../../', import.meta.url).pathname;
export const program = process.env.LASTSEEN_BIN ?? join(root, 'target/debug/lastseen');

/** Short times, so that nobody waits; flags given later win over these. */
const SHORT = { 'flush-interval': '500ms', 'ping-interval': '2s', 'beat-interval': '2s', 'dead-after': '6s', grace: '5s' };

export const SECRET = 'a secret of the browser tests that is long enough';

/** A server with these settings; without the short times where `short` is empty. `restart` brings it back on the same port and data after `kill` or `stop`. */
export async function startServer(settings = {}, short = SHORT) {
  const data = mkdtempSync(join(tmpdir(), 'lastseen-browser-'));
  let child;
  let listen = '127.0.0.1:0';
  const server = { origin: '', start, stop, kill, end };

  async function start() {
    const flags = Object.entries({ ...short, ...settings }).map(([name, value]) => `--${name}=${value}`);
    const own = [`--listen=${listen}`, `--data-dir=${data}`, `--jwt-secret=${SECRET}`, '--durable=false', '--node=browser-tests'];
    child = spawn(program, ['serve', ...own, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    child.stderr.on('data', (text) => { log += text; });
    const lines = createInterface(child.stdout);
    const line = await Promise.race([
      once(lines, 'line').then(([first]) => first),
      once(child, 'exit').then(() => { throw new Error(`the server did not start:\n${log}`); }),
      once(child, 'error').then(([error]) => { throw new Error(`the server could not be started (cargo build?): ${error.message}`); }),
    ]);
    server.origin = /http:\/\/\S+/.exec(line)[0];
    listen = new URL(server.origin).host;
    return server;
  }

  async function finish(signal) {
    if (child.exitCode != null || child.signalCode != null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }
  function stop() {
    return finish('SIGTERM');
  }
  function kill() {
    return finish('SIGKILL');
  }

  /** For good: stopped in good order, so that its database ends too, and nothing is left. */
  async function end() {
    if (child.signalCode === 'SIGKILL') await start();
    await stop();
    rmSync(data, { recursive: true, force: true });
  }

  return start();
}

/** Asks the server's HTTP interface; throws where it refuses. */
export async function ask(server, method, path, { token, body } = {}) {
  const headers = { accept: 'application/json', ...(token && { authorization: `Bearer ${token}` }), ...(body && { 'content-type': 'application/json' }) };
  const answer = await fetch(server.origin + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.status === 204 ? null : answer.json();
}

/** Opens a session as a guest host; with the ways in as paths. */
export async function openSession(server, body = {}) {
  const session = await ask(server, 'POST', '/v1/reading-sessions', { body });
  const path = ({ url }) => new URL(url).pathname;
  return { ...session, guestPath: path(session.invite), hostPath: path(session.host_invite) };
}
