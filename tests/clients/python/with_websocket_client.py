"""PyPI websocket-client."""

import contract
import websocket

call = contract.arguments()
refused = False


def on_open(app: websocket.WebSocketApp) -> None:
    contract.opened(app.sock.getsubprotocol())
    contract.lines(app.send, app.close)


def on_error(_app: websocket.WebSocketApp, error: Exception) -> None:
    global refused
    # A Close of the server's comes here before it comes to on_close.
    if isinstance(error, websocket.WebSocketConnectionClosedException):
        return
    refused = True
    if isinstance(error, websocket.WebSocketBadStatusException):
        contract.refused(error.status_code, error.resp_body)
    else:
        contract.failed(error)


def on_close(_app: websocket.WebSocketApp, code: int | None, reason: str | None) -> None:
    if not refused:
        contract.closed(code, reason)


websocket.WebSocketApp(
    call.url,
    header=call.headers,
    subprotocols=call.protocols or None,
    on_open=on_open,
    on_message=lambda _app, text: contract.text(text),
    on_error=on_error,
    on_close=on_close,
).run_forever()
contract.end()
