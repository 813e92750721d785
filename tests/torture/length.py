"""How long a proof goes on: a short form beside all other tests, a long one for `make torture`."""

from __future__ import annotations

import os

import pytest


def lengths(name: str, short: int, long: int) -> pytest.MarkDecorator:
    """The parameter `name` of a test. PHIMAGE_TORTURE_<NAME> is another length for its long form."""
    told = int(os.environ.get(f"PHIMAGE_TORTURE_{name.upper()}", str(long)))
    return pytest.mark.parametrize(name, [short, pytest.param(told, marks=pytest.mark.torture)])


def examples(short: int, long: int) -> int:
    """How many examples Hypothesis makes. They are new ones in every run, so few of them see much in time."""
    return long if os.environ.get("PHIMAGE_TORTURE_EXAMPLES") else short
