#!/usr/bin/env bash
# HAProxy forgets a reload that is asked for right after its start, though it serves already.
#
# Expected:  once its port takes connections, SIGUSR2 to the master (-W) reloads the configuration; or, if it is too
#            early for that, the signal waits until the start is over, as signals that are blocked do.
# Seen:      of 8 starts, SIGUSR2 as soon as the port is open is followed by "Reloading HAProxy" in none or in some, else
#            by nothing: no reload, no line, no end, also 4 s later. A second one is taken each time, and so is a first one
#            that comes a second after "Loading success"; at once after that line it may be forgotten, too.
# Versions:  HAProxy 2.6.12 (Debian 2.6.12-1+deb12u4)
# Matters:   a deploy or a test that starts a proxy, sees it answer, changes its file and reloads goes on with the old file.
set -euo pipefail

if ! command -v haproxy >/dev/null; then
  echo "haproxy is not installed: apt-get install haproxy=2.6.12-1+deb12u4"
  exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >run.py <<'PY'
import os
import signal
import socket
import subprocess
import time


def start():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open("cfg", "w") as cfg:
        cfg.write(f"defaults\n mode http\n timeout connect 1s\n timeout client 9s\n timeout server 9s\n"
                  f"frontend f\n bind 127.0.0.1:{port}\n http-request return status 200\n")
    log = open("log", "w")
    child = subprocess.Popen(["haproxy", "-W", "-db", "-f", "cfg"], stdout=log, stderr=log, start_new_session=True)
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return child
        except OSError:
            time.sleep(0.001)
    raise SystemExit("haproxy did not start")


def says(word, seconds):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if word in open("log").read():
            return True
        time.sleep(0.02)
    return False


early, again, late = [], [], []
for turn in range(8):
    child = start()
    child.send_signal(signal.SIGUSR2)
    taken = says("Reloading HAProxy", 4)
    early.append(taken and child.poll() is None)
    print(turn, "taken" if taken else "forgotten", flush=True)
    if not taken:
        assert child.poll() is None, "it ended"
        child.send_signal(signal.SIGUSR2)
        again.append(says("Reloading HAProxy", 10))
        print("  a second one:", "taken" if again[-1] else "forgotten", flush=True)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
for turn in range(4):
    child = start()
    assert says("Loading success", 30)
    time.sleep(1)
    child.send_signal(signal.SIGUSR2)
    late.append(says("Reloading HAProxy", 10))
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
print(f"as soon as the port is open: {early.count(False)} of {len(early)} reloads are forgotten")
print(f"a second signal to those is taken: {again.count(True)} of {len(again)}")
print(f"a second after 'Loading success': {late.count(False)} of {len(late)} are forgotten", flush=True)
raise SystemExit(0 if early.count(False) and all(again) and all(late) else 1)
PY
if timeout 280 python3 run.py; then
  echo "FINDING HOLDS: HAProxy serves and forgets a reload, without a word"
else
  echo "CHANGED: see the figures above"
  exit 1
fi
