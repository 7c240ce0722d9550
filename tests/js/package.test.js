// The client as a package: how large it is, what would be published, and that Node can use it.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

const root = new URL('../../', import.meta.url);
const client = new URL('packages/client/', root);

const run = (cwd, program, ...args) =>
  execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

test('its modules, each gzipped by itself, are at most 9 KB', () => {
  const sizes = ['lastseen.js', 'presence.js', 'memory.js'].map((file) => gzipSync(readFileSync(new URL(file, client)), { level: 9 }).length);
  const size = sizes.reduce((sum, each) => sum + each);
  assert.ok(size <= 9 * 1024, `${size} bytes`);
});

test('its licences are those of the whole', () => {
  const text = (folder, file) => readFileSync(new URL(file, folder), 'utf8');
  for (const file of ['LICENSE-MIT', 'LICENSE-APACHE']) assert.equal(text(client, file), text(root, file), file);
});

/** A folder in which the packed tarball is installed, and what is in it. */
function installed(t) {
  const folder = mkdtempSync(join(tmpdir(), 'lastseen-package-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [{ filename, files }] = JSON.parse(run(client, 'npm', 'pack', '--json', '--silent', `--pack-destination=${folder}`));
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
  run(folder, 'npm', 'install', '--offline', '--silent', '--no-audit', '--no-fund', `./${filename}`);
  return { folder, files };
}

test('the packed tarball holds what is needed, and works where it is installed', (t) => {
  const { folder, files } = installed(t);
  assert.deepEqual(files.map(({ path }) => path).sort(), [
    'LICENSE-APACHE', 'LICENSE-MIT', 'README.md',
    'lastseen.d.ts', 'lastseen.js', 'memory.js', 'package.json', 'presence.d.ts', 'presence.js', 'testing-room.js', 'testing-tab.js',
    'testing.d.ts', 'testing.js',
  ]);

  writeFileSync(join(folder, 'app.js'), `
    import { join } from 'lastseen';
    import { fold, presence } from 'lastseen/presence';
    import { fakeServer } from 'lastseen/testing';

    const view = presence();
    fold(view, { type: 'welcome', seq: 1, occupancy: 1, you: 'a', participants: [{ id: 'a', name: 'Ada' }] });
    const room = join({ url: 'http://127.0.0.1:9', session: 's', name: 'Ada' });
    const { status } = room;
    room.leave();

    const server = fakeServer();
    const session = server.open({ title: 'Evening' });
    const other = join(session.url, { name: 'Ada', ...server.newTab() });
    session.join('Bob');
    await server.pass(200);
    const names = [...other.participants.values()].map(({ name }) => name).sort();
    console.log(JSON.stringify({ here: [...view.participants.values()], status, names }));
  `);
  assert.deepEqual(JSON.parse(run(folder, 'node', 'app.js')), { here: [{ id: 'a', name: 'Ada' }], status: 'connecting', names: ['Ada', 'Bob'] });

  const { license, repository } = JSON.parse(readFileSync(join(folder, 'node_modules/lastseen/package.json'), 'utf8'));
  assert.equal(license, 'MIT OR Apache-2.0');
  assert.match(repository.url, /^git\+https:/);
});

// script/setup --tests brings it.
const tsc = new URL('node_modules/typescript/bin/tsc', import.meta.url);

test('its types say what they promise, to a strict compiler that reads them too', { skip: !existsSync(tsc) && !process.env.CI && 'TypeScript is not here' }, (t) => {
  const { folder } = installed(t);
  copyFileSync(new URL('types.ts', import.meta.url), join(folder, 'types.ts'));
  for (const way of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
    const [module, resolution] = way;
    const flags = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2022', '--lib', 'es2022,dom', '--module', module, '--moduleResolution', resolution];
    const { status, stdout } = spawnSync(process.execPath, [tsc.pathname, ...flags, 'types.ts'], { cwd: folder, encoding: 'utf8' });
    assert.equal(stdout, '', way.join());
    assert.equal(status, 0);
  }
});
