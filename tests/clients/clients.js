// The clients: how each is started, and which file pins its version.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const built = new URL('../../target/clients/', import.meta.url).pathname;
const here = new URL('./', import.meta.url).pathname;

const node = (file) => [process.execPath, `${here}node/${file}`];
const python = (file) => [`${built}python/bin/python`, `${here}python/${file}`];
// Several of these run at once, each for a moment.
const java = (name) => ['java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', `${built}classes:${built}jars/*`, name];

const pinned = (file, pattern) => () => pattern.exec(readFileSync(here + file, 'utf8'))[1];
const go = (module) => pinned('go/go.mod', new RegExp(`${module} v(\\S+)`));
const npm = (name) => pinned('package.json', new RegExp(`"${name}": "(.+)"`));
const pypi = (name) => pinned('python/requirements.txt', new RegExp(`^${name}==(\\S+)`, 'm'));

/** `events`: reads the event stream, and is no WebSocket. `of`: its version is that of what is installed. */
export const CLIENTS = [
  { name: 'Go, coder/websocket', version: go('coder/websocket'), command: [`${built}coder`] },
  { name: 'Go, gorilla/websocket', version: go('gorilla/websocket'), command: [`${built}gorilla`] },
  { name: 'Python, websockets', version: pypi('websockets'), command: python('with_websockets.py') },
  { name: 'Python, websocket-client', version: pypi('websocket-client'), command: python('with_websocket_client.py') },
  { name: 'Python, aiohttp', version: pypi('aiohttp'), command: python('with_aiohttp.py') },
  { name: 'Python, httpx-sse', version: pypi('httpx-sse'), command: python('with_httpx_sse.py'), events: true },
  { name: 'Java, java.net.http', version: jdk, command: java('Jdk'), needs: `${built}classes/Jdk.class`, installed: true },
  { name: 'Java, OkHttp', version: pinned('java/pom.xml', /okhttp-jvm<\/artifactId>\s*<version>(.+)</), command: java('Ok'), needs: `${built}classes/Ok.class` },
  { name: 'Node, ws', version: npm('ws'), command: node('ws.js') },
  { name: 'Node, undici', version: npm('undici'), command: node('undici.js') },
  { name: 'Node, eventsource', version: npm('eventsource'), command: node('eventsource.js'), events: true },
  { name: 'Rust, tungstenite', version: pinned('rust/Cargo.toml', /tungstenite.*"=(.+?)"/), command: [`${built}rust/debug/tungstenite`] },
];

/** Whether script/setup could make what the client needs. */
export const isHere = ({ command, needs = command[0] }) => existsSync(needs);

function jdk() {
  return /(\d+[\d.]*)/.exec(execFileSync('java', ['--version'], { encoding: 'utf8' }))[1];
}
