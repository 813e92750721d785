"""The nodes of a YAML text, each with its line and column."""

from __future__ import annotations

from msgspec import Struct, field

MAX_VALUES = 1_000_000
"""Max nodes of a file; those behind an alias count each time. A catalogue of 5,000 images has about 300,000."""

_NULL = frozenset(("", "~", "null", "Null", "NULL"))


class Scalar(Struct):
    """The text of a scalar without quotes. `plain`: it is not quoted in the file."""

    text: str
    plain: bool
    line: int
    column: int

    @property
    def null(self) -> bool:
        """Whether the scalar is empty or one of YAML's spellings of null."""
        return self.plain and self.text in _NULL


class Sequence(Struct):
    """A list."""

    line: int
    column: int
    items: list[Node] = field(default_factory=list)


class Mapping(Struct):
    """Names and values in the order of the file. Of a repeated name the first value counts."""

    line: int
    column: int
    keys: dict[str, Scalar] = field(default_factory=dict)
    values: dict[str, Node] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping
