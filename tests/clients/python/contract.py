"""What a program is given and what it prints; see ../README.md."""

import json
import os
import sys
import threading
from typing import Callable, NamedTuple


class Call(NamedTuple):
    """The connection to make."""

    url: str
    protocols: list[str]
    headers: dict[str, str]


def arguments() -> Call:
    """Reads the call from the command line."""
    url, protocols, *headers = sys.argv[1:]
    return Call(url, protocols.split(",") if protocols else [], dict(header.split(": ", 1) for header in headers))


def lines(send: Callable[[str], object], end: Callable[[], object]) -> None:
    """Hands on each line of the standard input, in a thread of its own, and calls `end` after the last."""

    def read() -> None:
        for line in sys.stdin:
            send(line.rstrip("\n"))
        end()

    threading.Thread(target=read, daemon=True).start()


def opened(protocol: str | None) -> None:
    _print(open=protocol or "")


def text(data: str) -> None:
    _print(text=data)


def refused(status: int, body: bytes | None) -> None:
    _print(refused=status, body=None if body is None else bytes(body).decode())


def closed(code: int | None, reason: str | None) -> None:
    _print(closed=code, reason=reason or "")


def failed(error: BaseException) -> None:
    _print(failed=f"{type(error).__name__}: {error}")


def end() -> None:
    """Ends the program, also while its thread waits for a line."""
    sys.stdout.flush()
    os._exit(0)


_lock = threading.Lock()


def _print(**fact: object) -> None:
    with _lock:
        print(json.dumps(fact), flush=True)
