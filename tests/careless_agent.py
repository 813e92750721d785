"""The agent with one mistake, as a control of what the proofs can see: `python -m tests.careless_agent MISTAKE deploy ...`.

`tail`: the tail is written with the body, and first. `end`: a stream that ends early is taken for its end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from phimage.agent import deploy_command, prepared_deploy
from phimage.agent.__main__ import main
from phimage.agent.deploy import Deployment
from phimage.agent.errors import ImageUnavailable
from phimage.agent.image_chunks import ImageChunks
from phimage.agent.image_source import ServedImage
from phimage.agent.write_plan import WINDOW, WritePlan


class TailFirst(WritePlan):
    """Holds back the head alone."""

    def body(self, place: int, raw: bytes) -> tuple[int, bytes]:
        start = self.chunks.offset(place)
        return start, raw if start >= WINDOW else b""


class BackToFront(ServedImage):
    """Fetches the last chunks first."""

    def batches(self, chunks: ImageChunks, places: Iterator[int]) -> Iterator[range]:
        return reversed(list(super().batches(chunks, places)))


class EndsEarly(Deployment):
    """Takes what it got for the whole."""

    def _write(self, right: set[int]) -> None:
        whole = self._source.read

        def read(chunks: ImageChunks, places: range) -> Iterator[tuple[int, bytes]]:
            try:
                yield from whole(chunks, places)
            except ImageUnavailable:
                return

        self._source.read = read  # type: ignore[method-assign]
        super()._write(right)


if __name__ == "__main__":
    if sys.argv[1] == "tail":
        setattr(prepared_deploy, "WritePlan", TailFirst)  # noqa: B010  mypy sees no name that is only imported there
        setattr(deploy_command, "ServedImage", BackToFront)  # noqa: B010
    else:
        setattr(prepared_deploy, "Deployment", EndsEarly)  # noqa: B010
    main(sys.argv[2:])
