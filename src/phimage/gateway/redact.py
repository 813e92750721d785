"""Parameters whose names look like secrets. Real clients send them: `ucloud api --private-key ...` puts the key in the body."""

from __future__ import annotations

import re

from phimage.gateway.params import Params, Value

MASK = "***"

_SECRET = re.compile(r"private[-_.]?key|password|passwd|secret|token|credential", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a parameter of this name may hold a secret."""
    return _SECRET.search(name) is not None


def redacted(params: Params) -> dict[str, Value]:
    """The parameters with secrets masked, at every depth."""
    return {name: MASK if is_secret(name) else _inside(value) for name, value in params.items()}


def _inside(value: Value) -> Value:
    if isinstance(value, dict):
        return redacted(value)
    if isinstance(value, list):
        return [_inside(item) for item in value]
    return value
