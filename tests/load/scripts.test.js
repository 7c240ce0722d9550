// The scripts of examples/load against the real server, each by the tool that it is for.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { startServer } from '../browser/harness/server.js';
import { token } from '../browser/harness/token.js';

const scripts = new URL('../../examples/load/', import.meta.url).pathname;
const PEOPLE = 12;

let server;
let out;
before(async () => {
  server = await startServer();
  out = mkdtempSync(join(tmpdir(), 'lastseen-load-'));
});
after(async () => {
  await server?.end();
  if (out) rmSync(out, { recursive: true, force: true });
});

/** Runs a program to its end: its exit code and what it said. */
const run = (program, args, env = {}) =>
  new Promise((done) => {
    const options = { cwd: scripts, env: { ...process.env, LASTSEEN_URL: server.origin, LASTSEEN_TOKEN: token({ role: 'service_role' }), ...env } };
    execFile(program, args, options, (error, stdout, stderr) => done({ code: error ? error.code : 0, said: stdout + stderr }));
  });

test('Artillery: everybody is let in, nothing is missing, every beat is answered', async () => {
  const report = join(out, 'artillery.json');
  const overrides = { config: { phases: [{ duration: 3, arrivalRate: PEOPLE / 3 }], variables: { hold: 4, beat: 1 } } };
  const args = ['run', 'artillery.yml', '--output', report, '--overrides', JSON.stringify(overrides)];
  const { code, said } = await run(join(scripts, 'node_modules/.bin/artillery'), args, { PER_SESSION: '4', ARTILLERY_DISABLE_TELEMETRY: 'true' });
  assert.equal(code, 0, said);
  const { counters, summaries } = JSON.parse(readFileSync(report)).aggregate;
  assert.equal(counters['vusers.completed'], PEOPLE, said);
  assert.equal(counters['lastseen.joined'], PEOPLE);
  assert.ok(counters['lastseen.beats'] >= PEOPLE, said);
  assert.equal(summaries['lastseen.beat_ms'].count, counters['lastseen.beats'], 'each beat has its answer');
  for (const wrong of ['gaps', 'wrong_counts', 'unanswered', 'errors']) assert.equal(counters[`lastseen.${wrong}`], 0, wrong);
});

const haveK6 = (() => {
  try {
    return Boolean(execFileSync('k6', ['version'], { stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    return false;
  }
})();

test('k6: the same', { skip: haveK6 ? false : 'k6 is not installed' }, async () => {
  const settings = { SESSIONS: 3, PER_SESSION: 4, RAMP: 6, HOLD_SECONDS: 4, BEAT_SECONDS: 1 };
  const env = Object.entries(settings).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
  const summary = join(out, 'k6.json');
  const { code, said } = await run('k6', ['run', '--quiet', '--no-usage-report', '--summary-export', summary, ...env, 'k6.js']);
  assert.equal(code, 0, said);
  const { metrics } = JSON.parse(readFileSync(summary));
  assert.equal(metrics.lastseen_joined.count, PEOPLE, said);
  assert.ok(metrics.lastseen_beats.count >= PEOPLE, said);
});
