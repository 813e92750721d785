"""Private keys at rest, and the file of the master key (`catalog.key_encryption`)."""

from __future__ import annotations

import re
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.catalog.key_encryption import KeyEncryption, make_master_key, read_master_key
from phimage.errors import SetupError
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey
from tests.examples import PRIVATE_KEY

PUBLIC = PublicKey("a-public-key")
ENCRYPTION = KeyEncryption(b"m" * 32, secrets.token_bytes)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_what_was_encrypted_can_be_decrypted(text: str) -> None:
    public = PublicKey(text)

    assert ENCRYPTION.decrypt(public, ENCRYPTION.encrypt(public, PrivateKey(text))).reveal() == text


def test_an_encrypted_key_shows_nothing_of_the_key() -> None:
    encrypted = ENCRYPTION.encrypt(PUBLIC, PrivateKey(PRIVATE_KEY))

    assert PRIVATE_KEY.encode() not in encrypted
    assert PRIVATE_KEY[:8].encode() not in encrypted


def test_a_key_encrypted_twice_looks_different() -> None:
    assert ENCRYPTION.encrypt(PUBLIC, PrivateKey(PRIVATE_KEY)) != ENCRYPTION.encrypt(PUBLIC, PrivateKey(PRIVATE_KEY))


def test_an_encrypted_key_is_a_version_a_nonce_the_text_and_its_tag() -> None:
    encrypted = KeyEncryption(b"m" * 32, lambda length: b"n" * length).encrypt(PUBLIC, PrivateKey("12345"))

    assert encrypted.startswith(b"\x01" + b"n" * 12)
    assert len(encrypted) == 1 + 12 + 5 + 16


def test_another_master_key_opens_nothing() -> None:
    encrypted = ENCRYPTION.encrypt(PUBLIC, PrivateKey(PRIVATE_KEY))

    with pytest.raises(SetupError, match="use the master key of this database"):
        KeyEncryption(b"M" * 32, secrets.token_bytes).decrypt(PUBLIC, encrypted)


def test_an_encrypted_key_cannot_be_decrypted_for_another_public_key() -> None:
    encrypted = ENCRYPTION.encrypt(PUBLIC, PrivateKey(PRIVATE_KEY))

    with pytest.raises(SetupError):
        ENCRYPTION.decrypt(PublicKey("another-public-key"), encrypted)


def test_no_bit_of_an_encrypted_key_can_be_changed() -> None:
    encrypted = ENCRYPTION.encrypt(PUBLIC, PrivateKey("short"))

    for position in range(len(encrypted)):
        for bit in range(8):
            tampered = bytearray(encrypted)
            tampered[position] ^= 1 << bit
            with pytest.raises(SetupError):
                ENCRYPTION.decrypt(PUBLIC, bytes(tampered))


def test_an_encrypted_key_cannot_be_shortened_or_lengthened() -> None:
    encrypted = ENCRYPTION.encrypt(PUBLIC, PrivateKey("short"))

    for tampered in (
        *(encrypted[:length] for length in range(len(encrypted))),
        encrypted + b"\0",
        b"\0" + encrypted,
        encrypted[1:],
    ):
        with pytest.raises(SetupError):
            ENCRYPTION.decrypt(PUBLIC, tampered)


# the file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_master_key_file_is_64_digits_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_master_key(path, secrets.token_bytes)

    assert re.fullmatch(r"[0-9a-f]{64}\n", path.read_text())
    assert mode_of(path) == 0o600
    assert read_master_key(path) == bytes.fromhex(path.read_text())
    assert [found.name for found in tmp_path.iterdir()] == ["master.key"]


def test_a_master_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_master_key(path, secrets.token_bytes)
    before = path.read_text()

    with pytest.raises(FileExistsError):
        make_master_key(path, secrets.token_bytes)

    assert path.read_text() == before
    assert [found.name for found in tmp_path.iterdir()] == ["master.key"]


def test_a_master_key_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    def exhausted(length: int) -> bytes:
        if length == 32:
            raise OSError("no randomness")
        return b"x" * length

    with pytest.raises(OSError, match="no randomness"):
        make_master_key(tmp_path / "master.key", exhausted)

    assert list(tmp_path.iterdir()) == []


KILLED_EVERYWHERE = """
import os, signal, sys
from pathlib import Path
from phimage import files
from phimage.catalog.key_encryption import make_master_key, read_master_key

folder = Path(sys.argv[1])
whole = 0
for line in range(1, 1000):
    path = folder / f"{line}.key"
    child = os.fork()
    if child == 0:
        left = line

        def trace(frame, event, argument):
            global left
            if frame.f_code is files._write.__code__:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        make_master_key(path, os.urandom)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if path.exists():
        assert len(read_master_key(path)) == 32
        whole += 1
    else:
        make_master_key(path, os.urandom)  # what the kill left behind is not in the way
        assert len(read_master_key(path)) == 32
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
print(line, whole)
"""


def test_a_kill_at_any_line_leaves_no_master_key_or_a_whole_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_EVERYWHERE, tmp_path], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    lines, whole = map(int, done.stdout.split())
    assert lines > 10
    assert 1 < whole < lines  # it was killed before there was a key, and after


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o601, 0o620, 0o700 | 0o007])
def test_a_master_key_that_others_can_reach_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    make_master_key(path, secrets.token_bytes)
    path.chmod(mode)

    with pytest.raises(SetupError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        read_master_key(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_master_key_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    make_master_key(path, secrets.token_bytes)
    path.chmod(mode)

    assert len(read_master_key(path)) == 32


def test_a_missing_master_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is missing: restore the master key"):
        read_master_key(tmp_path / "master.key")


def test_a_folder_is_no_master_key(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        read_master_key(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"00" * 31, b"00" * 33, b"xy" * 32, b"\xff" * 64, "é".encode() * 32, b"0" * 63]
)
def test_what_is_no_master_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(SetupError, match=r"is not a master key|cannot be read"):
        read_master_key(path)


def test_white_space_around_a_master_key_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text("  " + "AB" * 32 + "\r\n")
    path.chmod(0o600)

    assert read_master_key(path) == b"\xab" * 32
