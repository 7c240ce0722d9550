"""PyPI websockets, its asyncio client."""

import asyncio

import contract
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def main() -> None:
    call = contract.arguments()
    try:
        socket = await connect(call.url, subprotocols=call.protocols or None, additional_headers=call.headers)
    except InvalidStatus as refusal:
        contract.refused(refusal.response.status_code, refusal.response.body)
        return
    contract.opened(socket.subprotocol)
    loop = asyncio.get_running_loop()
    contract.lines(
        lambda line: asyncio.run_coroutine_threadsafe(socket.send(line), loop),
        lambda: asyncio.run_coroutine_threadsafe(socket.close(), loop),
    )
    try:
        async for text in socket:
            contract.text(text)
    except ConnectionClosed:
        pass
    contract.closed(socket.close_code, socket.close_reason)


try:
    asyncio.run(main())
except Exception as error:
    contract.failed(error)
contract.end()
