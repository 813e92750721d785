"""The floor: the same HTTP server with one process, answering fixed bytes to everything, one after the other. No product code
runs in it.

`python -m bench.bare PORT FILE` answers the lines of a file in turn, or `{}`.
"""

from __future__ import annotations

import sys
from itertools import cycle
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

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


if __name__ == "__main__":
    Server(
        "bare",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGINL,
        websockets=False,
        http1_settings=HTTP1Settings(keep_alive=True),
        log_level=LogLevels.warning,
    ).serve(target_loader=lambda *_: app, wrap_loader=False)
