"""PyPI aiohttp, its WebSocket client."""

import asyncio

import contract
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError


async def main() -> None:
    call = contract.arguments()
    async with ClientSession() as session:
        try:
            socket = await session.ws_connect(call.url, protocols=call.protocols, headers=call.headers)
        except WSServerHandshakeError as refusal:
            contract.refused(refusal.status, None)
            return
        contract.opened(socket.protocol)
        loop = asyncio.get_running_loop()
        contract.lines(
            lambda line: asyncio.run_coroutine_threadsafe(socket.send_str(line), loop),
            lambda: asyncio.run_coroutine_threadsafe(socket.close(), loop),
        )
        # Not `async for`, which ends at a Close and keeps its reason to itself.
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            contract.text(message.data)
        await socket.close()  # of which the one above may not have sent its frame yet
        contract.closed(socket.close_code, message.extra)


try:
    asyncio.run(main())
except Exception as error:
    contract.failed(error)
contract.end()
