"""`Bgp` in a process of its own, told what to want and asked what came of it by whoever started it.

    speaker.py SOCKET NODE

An order is a line on standard input: its number, a verb and what belongs to it, pickled, in base64. When it has been
carried out, `{"heard": NUMBER}` is said; whenever a session changes, all of them are.
"""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import sys

import msgspec
import structlog

from arpfast.following import Watch
from speaker.bgp.bgp import Bgp

LINE_BYTES_AT_MOST = 256 << 20


async def speak(socket: str, node: str) -> None:
    """Until the end of the orders."""
    log = structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=[structlog.processors.JSONRenderer()])

    def say() -> None:
        said = {"sessions": msgspec.to_builtins(dict(bgp.sessions())), "trouble": bgp.trouble}
        print(json.dumps(said), flush=True)

    bgp = Bgp(socket, node=node, log=log, changed=say)
    orders = asyncio.StreamReader(limit=LINE_BYTES_AT_MOST)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    async def follow() -> None:
        async for snapshot in Watch():
            bgp.interfaces(snapshot)

    async def obey() -> None:
        print("ready", flush=True)
        while line := await orders.readline():
            number, verb, given = pickle.loads(base64.b64decode(line))
            match verb:
                case "want":
                    bgp.want(*given)
                case "drain":
                    bgp.drain(*given)
                case "leave":
                    await bgp.leave(withdraw=given[0])
                case "settle":
                    await bgp.wait_settled()
            print(json.dumps({"heard": number}), flush=True)

    async with asyncio.TaskGroup() as tasks:  # an error in one of them ends the process, and is seen
        others = [tasks.create_task(each) for each in (bgp.run(), follow())]
        await obey()
        for task in others:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(speak(sys.argv[1], sys.argv[2]))
