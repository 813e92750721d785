"""A pipe that is published again by the same command: the token cannot tell its bytes from others."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from typing import Any, cast

import pytest

from phimage.cli.progress import Progress
from phimage.cli.publish import PublishFailed, _upload
from phimage.client import ActionResponse, Client
from phimage.sources.source import PipeSource

FIRST = b"the bytes of the first night"


class Published:
    """A server that has published a pipe, and answers the same command with the image."""

    public_key = "key"

    def call(self, action: str, **_: Any) -> ActionResponse:
        fields: dict[str, Any] = {"ImageId": "pimg-os-web7k2ma", "ProjectId": "", "UploadUrl": "", "State": "Done"}
        if action == "GetPHostImage":
            fields = {"Origin": {"Digest": f"sha256:{sha256(FIRST).hexdigest()}"}}
        return ActionResponse(fields, 1, "")


def publish(data: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("phimage.sources.source.open_source", lambda _: PipeSource(BytesIO(data)))
    params = {"ProjectId": None, "Zone": ("z",), "ImageType": "Base", "Digest": None}
    return str(_upload(cast("Client", Published()), "-", params, Progress(quiet=True))["ImageId"])


def test_the_same_bytes_are_the_same_image_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert publish(FIRST, monkeypatch) == "pimg-os-web7k2ma"
    with pytest.raises(PublishFailed, match="from other bytes: give another --name or --version"):
        publish(b"those of the second", monkeypatch)
