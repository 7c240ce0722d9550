// A program on a display and in a home of its own: what it writes is removed, and what it starts is ended with it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { until } from '../browser.js';

/** A port that nothing listens on. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * `args` gets the home and gives the arguments. `said(pattern)` waits for a text in what the program prints; `kill` ends it
 * at once with all that it started, `end` removes its home, too.
 */
export async function startProgram(command, args, env = {}) {
  const home = mkdtempSync(join(tmpdir(), 'lastseen-browser-home-'));
  const own = Object.fromEntries(['HOME', 'TMPDIR', 'XDG_CONFIG_HOME', 'XDG_CACHE_HOME', 'XDG_DATA_HOME', 'XDG_RUNTIME_DIR'].map((name) => {
    const folder = join(home, name.toLowerCase());
    mkdirSync(folder, { mode: 0o700 });
    return [name, folder];
  }));
  const child = spawn(command, args(own.HOME), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...own, ...env },
  });
  await once(child, 'spawn').catch((error) => {
    rmSync(home, { recursive: true });
    throw error;
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => { text += part; });
  const isOver = () => child.exitCode !== null || child.signalCode !== null;

  const mustRun = () => { if (isOver()) throw new Error(`${command} has ended:\n${text}`); };

  async function said(pattern) {
    await until(`${command} prints ${pattern}`, () => {
      mustRun();
      return pattern.test(text);
    });
    return pattern.exec(text);
  }

  async function kill() {
    await until(`all of ${command} has ended`, () => {
      const left = started(home);
      for (const pid of left) signal(pid, 'SIGKILL');
      return left.length === 0;
    });
  }

  async function end() {
    await kill();
    // What was still being written when it was killed is there a moment later.
    rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  return { home: own.HOME, said, mustRun, kill, end };
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** `[parent, state]` of a process, by Linux's account of it. */
function about(pid) {
  try {
    const [, state, parent] = /\) (\w) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    return [Number(parent), state];
  } catch {
    return [0, 'X'];
  }
}
const lives = (pid) => !['X', 'Z'].includes(about(pid)[1]);

function knows(pid, home) {
  try {
    return readFileSync(`/proc/${pid}/environ`).includes(home);
  } catch {
    return false;
  }
}

/** Those that have this home, and what they started: some have lost their parent, and some overwrite what they know. */
function started(home) {
  const alive = readdirSync('/proc').map(Number).filter((each) => each && lives(each));
  const found = new Set(alive.filter((each) => knows(each, home)));
  let size;
  do {
    size = found.size;
    for (const each of alive) if (found.has(about(each)[0])) found.add(each);
  } while (found.size > size);
  return [...found];
}
