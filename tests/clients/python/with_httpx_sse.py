"""PyPI httpx-sse, event streams."""

import contract
import httpx
from httpx_sse import connect_sse

# httpx gives up a stream that says nothing for 5 s; the server's comments come every 25 s.
PATIENCE = httpx.Timeout(5, read=60)

call = contract.arguments()
try:
    with httpx.Client(timeout=PATIENCE) as client, connect_sse(client, "GET", call.url, headers=call.headers) as source:
        if source.response.status_code != 200:
            contract.refused(source.response.status_code, source.response.read())
            contract.end()
        contract.opened(None)
        contract.lines(lambda _line: None, contract.end)
        for event in source.iter_sse():
            contract.text(event.data)
        contract.closed(None, None)
except httpx.HTTPError as error:
    contract.failed(error)
contract.end()
