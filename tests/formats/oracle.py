"""The verdict of oslo.utils' format inspector, which OpenStack's image services use."""

from __future__ import annotations

import importlib
import io
import logging
from typing import Any

import pytest


def inspector() -> Any:
    """The module. The test is skipped where oslo.utils is not installed."""
    pytest.importorskip("oslo_utils", reason="oslo.utils is not installed")
    return importlib.import_module("oslo_utils.imageutils.format_inspector")


def accepts(image: bytes) -> bool:
    """Whether it detects exactly one format, and a safe one."""
    oslo = inspector()
    logging.getLogger(oslo.__name__).setLevel(logging.CRITICAL)
    wrapper = oslo.InspectWrapper(io.BytesIO(image))
    while wrapper.read(65536):
        pass
    wrapper.close()
    try:
        wrapper.format.safety_check()
    except (oslo.ImageFormatError, oslo.SafetyCheckFailed):
        return False
    return True
