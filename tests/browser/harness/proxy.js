// A network between the browser and the server that can be cut.

import net from 'node:net';
import { once } from 'node:events';

/** Hands bytes on to the server; `cut` ends all that is under way and lets nobody through until `mend`. `refuse` ends nothing, but lets nobody new through. */
export async function startProxy(server) {
  const open = new Set();
  let whole = true;
  const proxy = net.createServer((near) => {
    if (!whole) return near.destroy();
    const { hostname, port } = new URL(server.origin);
    const far = net.connect(Number(port), hostname);
    for (const [from, to] of [[near, far], [far, near]]) {
      open.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const refuse = () => { whole = false; };
  const cut = () => {
    refuse();
    for (const socket of open) socket.destroy();
  };
  return {
    origin: `http://127.0.0.1:${proxy.address().port}`,
    refuse,
    cut,
    mend() { whole = true; },
    end() {
      cut();
      proxy.close();
    },
  };
}
