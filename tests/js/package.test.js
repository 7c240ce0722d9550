// The client as a package: how large it is, and what would be published.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

const client = new URL('../../static/client/', import.meta.url);

test('both modules, each gzipped by itself, are at most 5 KB', () => {
  const sizes = ['lastseen.js', 'presence.js'].map((file) => gzipSync(readFileSync(new URL(file, client)), { level: 9 }).length);
  const size = sizes[0] + sizes[1];
  assert.ok(size <= 5 * 1024, `${size} bytes`);
});

test('the folder is a package as it stands', () => {
  const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--silent'], { cwd: client, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  assert.deepEqual(files.map(({ path }) => path).sort(), [
    'README.md', 'lastseen.d.ts', 'lastseen.js', 'package.json', 'presence.d.ts', 'presence.js',
  ]);
});
