#!/usr/bin/env bash
# The npm package eventsource forgets an id that comes without data, so a reconnect goes back too far.
#
# Expected:  a block that holds "id: 7" and no data dispatches no event, but sets the last event ID (WHATWG HTML,
#            9.2.6: the first step of dispatching, before the data is looked at). The next event has lastEventId
#            "7", and a reconnect sends "Last-Event-ID: 7".
# Seen:      eventsource and eventsource-client (both on eventsource-parser) give the next event no id, and
#            reconnect without Last-Event-ID. After "id: 5" with data and then "id: 7" without, they reconnect with
#            5. launchdarkly-eventsource takes the id with the next event that has data, not before. undici's
#            EventSource, as control, sends 7 in both cases.
# Versions:  npm eventsource 4.1.1, eventsource-client 1.2.0 (eventsource-parser 3.1.1), launchdarkly-eventsource
#            2.2.0; control undici 7.30.2; Node 20.20.2.
# Matters:   a feed that moves a reader's position past rows that are not for it has to send data with the id, or
#            those readers see events again after each reconnect.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund eventsource@4.1.1 eventsource-client@1.2.0 eventsource-parser@3.1.1 \
  launchdarkly-eventsource@2.2.0 undici@7.30.2

cat >run.mjs <<'JS'
import http from 'node:http';
import { createRequire } from 'node:module';
import { EventSource } from 'eventsource';
import { createEventSource } from 'eventsource-client';
import { EventSource as Undici } from 'undici';

const LaunchDarkly = createRequire(import.meta.url)('launchdarkly-eventsource').EventSource;
const streams = {
  alone: 'retry: 100\n\nid: 7\n\ndata: a\n\n',
  later: 'retry: 100\n\nid: 5\ndata: a\n\nid: 7\n\n',
};
const clients = {
  eventsource: (url) => { const source = new EventSource(url); return () => source.close(); },
  'eventsource-client': (url) => { const source = createEventSource({ url }); return () => source.close(); },
  'launchdarkly-eventsource': (url) => { const source = new LaunchDarkly(url); return () => source.close(); },
  undici: (url) => { const source = new Undici(url); return () => source.close(); },
};
for (const [name, open] of Object.entries(clients)) {
  for (const [kind, text] of Object.entries(streams)) {
    const sent = await new Promise((resolve, reject) => {
      let requests = 0, close = () => {};
      const server = http.createServer((request, response) => {
        requests += 1;
        if (requests === 2) {
          resolve(request.headers['last-event-id'] ?? 'none');
          close();
          response.end();
          server.close();
          return;
        }
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(text);
      });
      server.listen(0, '127.0.0.1', () => { close = open(`http://127.0.0.1:${server.address().port}/`); });
      setTimeout(() => reject(new Error(`${name} did not come back within 30 s`)), 30_000).unref();
    });
    console.log(`${name} ${kind} ${sent}`);
  }
}
process.exit(0);
JS
timeout 120 node run.mjs | tee seen
cat >expected <<'TXT'
eventsource alone none
eventsource later 5
eventsource-client alone none
eventsource-client later 5
launchdarkly-eventsource alone 7
launchdarkly-eventsource later 5
undici alone 7
undici later 7
TXT
if diff expected seen; then
  echo "FINDING HOLDS: an id without data is forgotten, and the reconnect goes back too far"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
