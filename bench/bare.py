"""A floor: the same HTTP server with one process, answering fixed bytes to everything, one after the other. No product code
runs in it, and it keeps no response ready: each request becomes a task of an ASGI application.

`python -m bench.bare PORT FILE` answers the lines of a file in turn, or `{}`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

from phimage.processes import http_server
from phimage.processes.http_server import BACKLOG, HttpServer

_answers = cycle(Path(sys.argv[2]).read_bytes().splitlines() if len(sys.argv) > 2 else [b"{}"])


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the request, answer the next fixed bytes."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    answer = next(_answers)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def main() -> None:
    """Serve until the process is ended."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=BACKLOG) as listener:
        HttpServer(app).start(listener)
        await asyncio.Event().wait()


if __name__ == "__main__":
    http_server.run(main())
