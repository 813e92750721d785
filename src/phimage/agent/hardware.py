"""What a machine says of itself when it enrols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from phimage.errors import ClientError

_NO_SERIALS = frozenset({"", "none", "default string", "not specified", "to be filled by o.e.m.", "system serial number"})
_MAC_LENGTH, _NO_MAC = 17, "00:00:00:00:00:00"


@dataclass(frozen=True)
class Hardware:
    """The identity of a machine in this boot."""

    serial: str
    macs: tuple[str, ...]
    boot: str


def this_machine(serial: str = "", sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Hardware:
    """The machine that this runs on. `serial` replaces what its firmware says. Raises ClientError if nothing says it."""
    serial = serial or _firmware_serial(sys / "class" / "dmi" / "id")
    cards = [card for card in (sys / "class" / "net").glob("*") if len(_text(card / "address")) == _MAC_LENGTH]
    own = [card for card in cards if (card / "device").exists()] or cards  # in a container, the card is one of the kernel's
    macs = sorted({_text(card / "address").lower() for card in own} - {_NO_MAC})
    if not serial:
        raise ClientError(
            "the firmware of this machine has no serial number, or this is not root: name it with --serial-number"
        )
    if not macs:
        raise ClientError("this machine has no network card: load its driver")
    return Hardware(serial, tuple(macs), _text(proc / "sys" / "kernel" / "random" / "boot_id"))


def _firmware_serial(folder: Path) -> str:
    for name in ("product_serial", "board_serial", "chassis_serial"):
        text = _text(folder / name)
        if text.lower() not in _NO_SERIALS:
            return text
    return ""


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
