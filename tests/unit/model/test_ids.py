"""New names and numbers."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest

from phimage.model.ids import new_image_id, new_private_key, new_project_id, new_public_key, new_secret

Maker = Callable[[Callable[[int], bytes]], str]


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (new_image_id, "pimg-os-[a-z2-7]{8}"),
        (new_project_id, "org-[a-z2-7]{8}"),
        (new_public_key, "phimage[a-z2-7]{32}"),
        (new_private_key, "[a-z2-7]{40}"),
        (new_secret, "[A-Za-z0-9_-]{43}"),
    ],
)
def test_new_names_have_their_shape_and_need_no_escaping(make: Maker, shape: str) -> None:
    assert all(re.fullmatch(shape, make(secrets.token_bytes)) for _ in range(100))


@pytest.mark.parametrize("make", [new_image_id, new_project_id, new_public_key, new_private_key, new_secret])
def test_new_names_come_from_the_given_randomness_alone(make: Maker) -> None:
    assert make(lambda length: b"7" * length) == make(lambda length: b"7" * length)
    assert make(lambda length: b"7" * length) != make(lambda length: b"8" * length)
