"""Uploads on a real server, as a process: `python -m tests.upload_server FOLDER PORT`. It admits one ticket."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from phimage.chunks.folder import FolderStore
from phimage.errors import UnknownToken
from phimage.http.asgi import Message, Receive, Send
from phimage.model.ids import AccountId, ManifestDigest
from phimage.uploads.app import Uploads
from phimage.uploads.authorizer import Upload, UploadAccessRequest
from tests.serving import serve_forever

TICKET = "Ticket=good"
MAX_BYTES = 1 << 40


class OneTicket:
    """Admits requests with the ticket."""

    def authorize(self, request: UploadAccessRequest) -> Upload:
        if request.query != TICKET:
            raise UnknownToken(detail="ask for another URL")
        return Upload(request.job, MAX_BYTES, "project", AccountId("account"))

    def manifests(self, upload: Upload) -> list[ManifestDigest]:
        return []


def build(folder: Path) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    uploads = Uploads(FolderStore(folder), OneTicket(), lambda _: "127.0.0.1", lambda: str(uuid.uuid4()))

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await uploads(scope, receive, send)

    return app


def main(folder: str, port: str) -> None:
    serve_forever(lambda: build(Path(folder)), int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
