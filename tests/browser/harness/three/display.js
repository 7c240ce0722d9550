// A display for windows that nobody looks at.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Its name, as programs want it in DISPLAY, and how to end it. */
export async function startDisplay() {
  const server = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  let log = '';
  server.stderr.on('data', (text) => { log += text; });
  const [number] = await Promise.race([
    once(server.stdio[3], 'data'),
    once(server, 'exit').then(() => { throw new Error(`Xvfb did not start:\n${log}`); }),
    once(server, 'error').then(([error]) => { throw new Error(`Xvfb could not be started (script/setup --browser): ${error.message}`); }),
  ]);
  return {
    name: `:${String(number).trim()}`,
    async end() {
      const gone = once(server, 'exit');
      server.kill();
      await gone;
    },
  };
}
