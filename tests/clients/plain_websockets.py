"""The Python library websockets as a client of the plain door.

Input is a JSON object: `url`, `headers`, `send` (a list of messages) and `receive` (how many to wait for). Each message
received is a line of JSON; the last line is how it ended: {"closed": code}, or {"refused": status} before the upgrade.
"""

import asyncio
import json
import sys

import websockets


async def main() -> None:
    work = json.load(sys.stdin)
    try:
        async with websockets.connect(work["url"], additional_headers=work["headers"]) as websocket:
            for message in work["send"]:
                await websocket.send(json.dumps(message))
            for _ in range(work["receive"]):
                print(json.dumps(json.loads(await websocket.recv())))
        print(json.dumps({"closed": websocket.close_code}))
    except websockets.InvalidStatus as refused:
        print(json.dumps({"refused": refused.response.status_code}))


asyncio.run(main())
