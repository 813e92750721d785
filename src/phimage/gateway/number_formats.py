"""How clients write numbers when they sign them differently from what they send.

Each function takes a plain decimal text, as the signature has it, and returns what a client has signed instead.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct

from phimage.gateway.params import Params, Value

Format = Callable[[str], str]

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_MAX_DIGITS = 400
_FLOAT32_DIGITS = range(1, 10)
"""Nine significant digits identify every float32."""


def with_numbers(params: Params, change: Format) -> dict[str, Value]:
    """The parameters with each decimal number changed, at every depth."""
    return {name: _changed(value, change) for name, value in params.items()}


def _changed(value: Value, change: Format) -> Value:
    if isinstance(value, str):
        return change(value) if len(value) <= _MAX_DIGITS and _DECIMAL.fullmatch(value) else value
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):
        return with_numbers(value, change)
    return value


def without_zero(text: str) -> str:
    """A fraction below 1 without its zero: .5 for 0.5."""
    return re.sub(r"^(-?)0\.", r"\1.", text)


def widened(text: str) -> str:
    """A float32 that was converted to a float64: 0.10000000149011612 for 0.1."""
    try:
        (narrow,) = struct.unpack("f", struct.pack("f", float(text)))
    except OverflowError:
        return text
    return format(Decimal(repr(narrow)), "f").removesuffix(".0") if math.isfinite(narrow) else text


def narrowed(text: str) -> str:
    """The shortest text of a float32: 0.1 for 0.10000000149011612."""
    for digits in _FLOAT32_DIGITS:
        short = format(Decimal(f"{float(text):.{digits}g}"), "f")
        if widened(short) == widened(text):
            return short
    return text


class ExponentStyle(Struct, frozen=True):
    """When and how a language writes an exponent: below and from a power of ten, with this mark and so many digits.

    With `point`, the digits before it have a fraction: 1.0E7.
    """

    below: int
    since: int
    positive: str
    negative: str
    digits: int
    point: bool = False

    def __call__(self, text: str) -> str:
        """The number as the language writes it."""
        number = Decimal(text)
        exponent = number.adjusted()
        if not number or self.below <= exponent < self.since:
            return text
        sign, digits, _ = number.normalize().as_tuple()
        fraction = "".join(map(str, digits[1:])) or ("0" if self.point else "")
        mark = self.negative if exponent < 0 else self.positive
        mantissa = f"{digits[0]}.{fraction}" if fraction else str(digits[0])
        return f"{'-' * sign}{mantissa}{mark}{abs(exponent):0{self.digits}}"


EXPONENTS = (
    ExponentStyle(below=-4, since=6, positive="e+", negative="e-", digits=2),  # C and Go
    ExponentStyle(below=-4, since=21, positive="e+", negative="e-", digits=2),  # Go, in JSON
    ExponentStyle(below=-6, since=21, positive="e+", negative="e-", digits=1),  # JavaScript
    ExponentStyle(below=-4, since=16, positive="e+", negative="e-", digits=2),  # Python
    ExponentStyle(below=-3, since=7, positive="E", negative="E-", digits=1, point=True),  # Java
    ExponentStyle(below=-4, since=15, positive="E+", negative="E-", digits=1, point=True),  # PHP
)
