"""Ids, each its own type, how new ones are generated, and the natural order of names."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import NewType

RegionId = NewType("RegionId", str)
ZoneId = NewType("ZoneId", str)
ClusterId = NewType("ClusterId", str)
MachineTypeId = NewType("MachineTypeId", str)
ImageId = NewType("ImageId", str)
AccountId = NewType("AccountId", str)
UserId = NewType("UserId", int)
ProjectId = NewType("ProjectId", str)
PublicKey = NewType("PublicKey", str)
Revision = NewType("Revision", int)
JobId = NewType("JobId", str)
HostId = NewType("HostId", str)
OrderId = NewType("OrderId", str)
InstallationId = NewType("InstallationId", str)

ManifestDigest = NewType("ManifestDigest", str)
"""SHA-256 of a manifest in hexadecimal; it identifies the bytes of an image in the store."""

RandomBytes = Callable[[int], bytes]
"""A source of randomness: `secrets.token_bytes`, or a repeatable one in tests."""


def _letters(random: RandomBytes, length: int) -> str:
    return base64.b32encode(random(length)).decode("ascii").lower().replace("=", "")[:length]


def new_image_id(random: RandomBytes) -> ImageId:
    """An id such as `pimg-os-xev4rz2k`: the public shape (wire-protocol 4.4), with eight letters of base 32.

    Its prefix names no system: in the public ids it does, and the ids of a CentOS begin with `pimg-cs-`.
    """
    return ImageId(f"pimg-os-{_letters(random, 8)}")


def new_project_id(random: RandomBytes) -> ProjectId:
    """An id such as `org-4k2xqz7a`."""
    return ProjectId(f"org-{_letters(random, 8)}")


def new_job_id(random: RandomBytes) -> JobId:
    """An id such as `job-4k2xqz7a9m3d`."""
    return JobId(f"job-{_letters(random, 12)}")


def new_host_id(random: RandomBytes) -> HostId:
    """An id such as `upm-4k2xqz7a`, in the shape of UCloud's."""
    return HostId(f"upm-{_letters(random, 8)}")


def new_order_id(random: RandomBytes) -> OrderId:
    """An id such as `order-4k2xqz7a9m3d`."""
    return OrderId(f"order-{_letters(random, 12)}")


ENROL_TOKEN = "enrol-"  # noqa: S105 - a prefix
"""Prefix of the public part of an enrol token."""
HOST_KEY = "hostkey-"
"""Prefix of the key of a host's agent. No key of an account begins like these two."""


def new_enrol_token_id(random: RandomBytes) -> PublicKey:
    """The public part of an enrol token, such as `enrol-4k2xqz7a9m3d`."""
    return PublicKey(f"{ENROL_TOKEN}{_letters(random, 12)}")


def new_host_key_id(random: RandomBytes) -> PublicKey:
    """The id of a host's key, such as `hostkey-4k2xqz7a9m3d`."""
    return PublicKey(f"{HOST_KEY}{_letters(random, 12)}")


def new_public_key(random: RandomBytes) -> PublicKey:
    """A public key without `+`, `/` and `=`, which clients forget to escape (wire-protocol 2.2, rule 11)."""
    return PublicKey(f"phimage{_letters(random, 32)}")


def new_private_key(random: RandomBytes) -> str:
    """A private key of 200 random bits."""
    return _letters(random, 40)


def new_secret(random: RandomBytes) -> str:
    """A secret of 256 random bits in 43 characters that need no escaping in a URL or a cookie."""
    return base64.urlsafe_b64encode(random(32)).rstrip(b"=").decode("ascii")


_DIGITS = re.compile(r"([0-9]+)")


def natural(name: str) -> tuple[list[str | int], str]:
    """Sort key of natural order: 1G before 10G, 8.9 before 8.10. Names that differ only in leading zeros sort as text."""
    parts = _DIGITS.split(name)  # text and digits alternate, so equal positions have equal types
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
