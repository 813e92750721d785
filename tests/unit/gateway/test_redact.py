"""What looks like a secret is masked, wherever it stands."""

from __future__ import annotations

import pytest

from phimage.gateway.doctor import MASK, is_secret, redacted


@pytest.mark.parametrize(
    "name", ["private-key", "PrivateKey", "private_key", "Password", "LoginPassword", "SecurityToken", "AccessKeySecret"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PublicKey", "Action", "ImageId.0", "Region", "MachineType"])
def test_names_of_other_parameters_are_left_alone(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_masked_at_every_depth() -> None:
    given = {"Action": "A", "password": "x", "Disks": [{"Name": "d", "Secret": "y"}]}
    assert redacted(given) == {"Action": "A", "password": MASK, "Disks": [{"Name": "d", "Secret": MASK}]}  # type: ignore[arg-type]
