"""The error of a request that controls the endpoint, and of a path that names a world."""

from __future__ import annotations

from collections.abc import Mapping

from phimage.errors import PhimageError


class BadControl(PhimageError):
    """A name, a rule, a time or a seed that the endpoint cannot use. `remedy` says what is expected."""

    http_status = 400

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}: {remedy}")

    def public_fields(self) -> Mapping[str, object]:
        """See PhimageError."""
        return {"Message": self.what, "Detail": self.remedy}
