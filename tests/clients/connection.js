// A program that runs, the facts that it printed, and what they come to.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds that anything may take, on however busy a machine. */
const PATIENCE = 120_000;

/** Waits until `condition` gives something true, and gives that. It is asked again at each event `change` of `source`. */
export async function until(source, what, condition) {
  const limit = AbortSignal.timeout(PATIENCE);
  for (;;) {
    const met = condition();
    if (met) return met;
    try {
      await once(source, 'change', { signal: limit });
    } catch {
      throw new Error(`no ${what}`);
    }
  }
}

/** A server that is busy asks to come back, with 1013 or 503. */
export async function patiently(attempt) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === 20 || !/\b(1013|503)\b/.test(error.message)) throw error;
      await sleep(1000);
    }
  }
}

/** The people of a room, folded from frames: all of this that a table needs to know. */
export class People extends Map {
  left = new Map(); // id → reason

  take({ participants = [], joins = [], updates = [], leaves = [] }) {
    for (const { id, reason } of leaves) {
      this.delete(id);
      this.left.set(id, reason);
    }
    for (const person of [...participants, ...joins, ...updates]) this.set(person.id, person);
  }
}

const running = new Set();

/** Ends what still runs. */
export function endAll() {
  for (const child of running) child.kill('SIGKILL');
}

/** One connection, by the program of `client`. */
export class Connection extends EventTarget {
  people = new People();
  welcome = null;
  opened = null; // the subprotocol
  types = []; // of the frames, in order
  longest = 0; // bytes of the longest text
  texts = 0;
  end = null; // the fact that ended it
  ended = false; // the program

  constructor(client, url, { protocols = ['lastseen.v1'], headers = {} } = {}) {
    super();
    this.url = String(url);
    const [program, ...first] = client.command;
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    this.child = spawn(program, [...first, this.url, client.events ? '' : protocols.join(','), ...fields], { stdio: ['pipe', 'pipe', 'pipe'] });
    running.add(this.child);
    this.child.stdin.on('error', () => {}); // it has ended
    let said = '';
    this.child.stderr.on('data', (text) => { said += text; });
    createInterface(this.child.stdout).on('line', (line) => this.#take(JSON.parse(line)));
    this.child.on('close', () => {
      running.delete(this.child);
      this.ended = true;
      this.end ??= { failed: said.trim().split('\n').at(-1) || 'it ended' };
      this.#changed();
    });
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }

  #take(fact) {
    if ('open' in fact) this.opened = fact.open;
    else if ('text' in fact) this.#text(fact.text);
    // The first word of an end is the cause; a close says more than the error before it.
    else if (!('lost' in fact) && (!this.end || 'failed' in this.end)) this.end = { ...this.end, ...fact };
    this.#changed();
  }

  #text(text) {
    this.texts += 1;
    const bytes = Buffer.byteLength(text);
    this.longest = Math.max(this.longest, bytes);
    if (!text.startsWith('{')) return void this.types.push(text.slice(0, 10));
    const frame = JSON.parse(text);
    this.types.push(frame.type);
    if (frame.type === 'welcome') this.welcome = frame;
    this.people.take(frame);
  }

  /** Waits for `condition`; an end of the connection is a failure, which says why. */
  until(what, condition) {
    return until(this, what, () => {
      const met = condition();
      if (!met && this.end) throw new Error(inWords(this.end));
      return met;
    });
  }

  /** The fact that ends it. */
  async over() {
    await until(this, 'end', () => this.ended);
    return this.end;
  }

  joined() {
    return this.until('welcome', () => this.welcome);
  }

  /** Sends a beat, and waits for its answer. */
  async beat() {
    this.child.stdin.write(`${JSON.stringify({ type: 'beat' })}\n`);
    await this.until('answer to a beat', () => this.types.includes('beat'));
  }

  /** Ends the input: the program calls `close()`. */
  close() {
    this.child.stdin.end();
  }

  kill() {
    this.child.kill('SIGKILL');
  }
}

/** How a connection ended, for a cell of the table. */
export function inWords({ closed, reason, refused, failed }) {
  if (closed) return `closed ${closed} ${reason ?? ''}`.trim();
  if (refused) return `refused ${refused}`;
  return failed ?? 'ended';
}
