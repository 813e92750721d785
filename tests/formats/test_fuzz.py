"""T12: no file makes a reader raise, hang or print unsafe text. The long form is `python -m tests.formats.fuzz`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phimage.formats.errors import FormatError, Malformed
from phimage.formats.ext4 import Ext4
from phimage.formats.finding import InspectionReport
from phimage.formats.system import kernels, parse, system
from phimage.formats.table import KINDS, SIGNATURES, Signature
from phimage.formats.vmdk_descriptor import inspect
from tests.formats.fuzz import CORPUS
from tests.formats.mutation import MAX_CHANGES, RECORD, Memory, images, look, mutate

EXAMPLES = 20_000 if os.environ.get("PHIMAGE_TORTURE") else 150
MOST = 2 + RECORD * MAX_CHANGES


@settings(max_examples=2 * EXAMPLES)
@given(st.integers(0, 253), st.integers(0, 255), st.binary(max_size=RECORD * MAX_CHANGES))
def test_an_image_with_changes_is_no_trouble(image: int, size: int, changes: bytes) -> None:
    look(mutate(bytes([image, size]) + changes))


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(SIGNATURES), st.binary(max_size=4096), st.integers(0, 1 << 16))
def test_noise_behind_a_signature_is_no_trouble(signature: Signature, noise: bytes, size: int) -> None:
    place, magic = signature.offset, signature.bytes
    data = bytearray(noise.ljust(size + 512, b"\0"))
    start = place if place >= 0 else len(data) + place
    data[start : start + len(magic)] = magic
    look(Memory(bytes(data)))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=2048))
def test_noise_is_no_trouble(noise: bytes) -> None:
    look(Memory(noise))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=2048), st.integers(0, 1 << 40))
def test_a_descriptor_is_read_or_refused(text: bytes, capacity: int) -> None:
    with suppress(FormatError):
        inspect(text, capacity, InspectionReport(KINDS))


def test_a_long_line_of_a_descriptor_is_read_once() -> None:
    with pytest.raises(Malformed):
        inspect(b"a=" + bytes(1 << 20).replace(b"\0", b" ") + b'x"y', 1, InspectionReport(KINDS))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=2048))
def test_an_os_release_file_is_read(text: bytes) -> None:
    assert all(value.isprintable() for value in parse(text).values())


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=1024), st.lists(st.tuples(st.integers(0, 16384), st.binary(min_size=1, max_size=8)), max_size=8))
def test_a_damaged_ext_file_system_is_read_or_refused(noise: bytes, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(noise.ljust(16384, b"\xf3"))
    data[1024:1152] = bytes(128)
    data[1024 + 56 : 1024 + 58] = b"\x53\xef"
    data[1024:1028] = data[1024 + 40 : 1024 + 44] = b"\x10\0\0\0"
    for place, new in changes:
        data[place : place + len(new)] = new
    with suppress(FormatError):
        root = Ext4(Memory(bytes(data)))
        system(root)
        kernels(root)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.bin")), ids=lambda path: Path(path).stem)
def test_an_earlier_finding_of_the_fuzzer_is_no_trouble_any_more(path: Path) -> None:
    look(mutate(path.read_bytes()))


def test_every_image_of_the_corpus_is_what_the_fuzzer_starts_from() -> None:
    for number, image in enumerate(images()):
        same = mutate(bytes([number, 0]))
        assert same.read_at(0, same.size) == image
