"""The errors of the agent. Each text names the disk, the image or the order, and ends in a remedy."""

from __future__ import annotations

from phimage.errors import ClientError


def printable(text: str) -> str:
    """A text of others, such as the name of a disk, with `?` for each control character."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class DiskRefused(ClientError):
    """A disk is not the one, or not in a state, to be written or captured. Nothing was written."""


class DiskFailed(ClientError):
    """A disk failed to read or to write. Has the first byte of the part of the disk that failed."""

    def __init__(self, path: str, verb: str, offset: int, reason: str) -> None:
        self.offset = offset
        super().__init__(f"{path}: cannot {verb} at byte {offset}: {reason}; see dmesg, and replace the disk if it repeats")


class ImageMismatch(ClientError):
    """An image is not the expected one, or cannot be deployed to this disk. Nothing was written."""


class ImageUnavailable(ClientError):
    """The server did not send an image, or sent wrong bytes, for longer than the agent waits."""

    exit_code = 69


class TicketExpired(ClientError):
    """The server no longer accepts the ticket of an image's URL."""

    exit_code = 69


class OrderGone(ClientError):
    """The server ended an order, or gave it to another agent: this one stops writing at once."""


class AgentRefused(ClientError):
    """The server refused a request of the agent, by its RetCode."""

    def __init__(self, ret_code: int, message: str, detail: str, server_time: int | None = None) -> None:
        self.ret_code = ret_code
        self.server_time = server_time
        super().__init__(f"RetCode {ret_code}: {message}" + (f" ({detail})" if detail else ""))
