#!/usr/bin/env bash
# sseclient-py hands out an event that was cut off in the middle, as if it were whole.
#
# Expected:  an event that no blank line ends when the stream ends is discarded (WHATWG HTML, 9.2.6: "Once the end of
#            the file is reached, any pending data must be discarded").
# Seen:      it is dispatched: the text up to the cut is an event with its type and id. httpx-sse and requests-sse,
#            as controls, discard it. It also gives an event that names no id the id None, where the last event ID
#            goes on to hold.
# Versions:  PyPI sseclient-py 1.9.0, requests 2.34.2; controls httpx-sse 0.4.3 with httpx 0.28.1, requests-sse 0.5.3;
#            Python 3.11.
# Matters:   whenever a server or a proxy restarts while an event is on its way, a reader of JSON events gets half a
#            document, and half a list looks like people who left. Parse errors at the end of a stream are no fault
#            of the server's; readers should reconnect by them.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check sseclient-py==1.9.0 requests==2.34.2 httpx==0.28.1 \
  httpx-sse==0.4.3 requests-sse==0.5.3

cat >run.py <<'PY'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import httpx_sse
import requests
import requests_sse
import sseclient

# The second event names no id; the third ends in the middle of its line.
STREAM = b'id: 5\nevent: diff\ndata: {"seq":5}\n\ndata: {"seq":6}\n\nid: 7\nevent: diff\ndata: {"se'


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(STREAM)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"

for event in sseclient.SSEClient(requests.get(url, stream=True, timeout=10)).events():
    print("sseclient-py", event.id, event.event, event.data)
with httpx.Client() as client, httpx_sse.connect_sse(client, "GET", url) as source:
    for event in source.iter_sse():
        print("httpx-sse", event.id, event.event, event.data)
with requests_sse.EventSource(url, timeout=10, max_connect_retry=0) as source:
    for event in source:
        print("requests-sse", event.last_event_id, event.type, event.data)
        if "6" in event.data:
            # It would reconnect for ever. Whatever the first stream still holds comes before that.
            following = next(iter(source))
            print("requests-sse then", following.last_event_id, following.type, following.data)
            break
PY
timeout 60 python/bin/python run.py | tee seen
cat >expected <<'TXT'
sseclient-py 5 diff {"seq":5}
sseclient-py None message {"seq":6}
sseclient-py 7 diff {"se
httpx-sse 5 diff {"seq":5}
httpx-sse 5 message {"seq":6}
requests-sse 5 diff {"seq":5}
requests-sse 5 message {"seq":6}
requests-sse then 5 diff {"seq":5}
TXT
if diff expected seen; then
  echo "FINDING HOLDS: sseclient-py dispatches an event that was cut off"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
