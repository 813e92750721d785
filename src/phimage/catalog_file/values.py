"""Typed values out of YAML nodes, led by msgspec's description of the types and their limits.

A text takes the characters of its scalar as they are: `8.10` stays "8.10" and `no` stays "no". Nothing (an empty value,
`~` or `null`) is the default of a field that has one, and a mistake elsewhere.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from typing import Any

from msgspec import inspect

from phimage.catalog_file.mistake import Mistakes, Path, quoted
from phimage.catalog_file.tree import Mapping, Node, Scalar, Sequence

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
"""What an escape can put into a text, and no database keeps."""


class TooMany(Exception):
    """Following the aliases visits too many nodes."""


class Taker:
    """Takes values out of nodes. What is wrong is noted, a blank taken instead, and its path added to `unread`.

    A text that has the wrong form or length is noted and taken all the same, so that what refers to it still finds it.
    """

    def __init__(self, mistakes: Mistakes, max_values: int) -> None:
        self.unread: set[Path] = set()
        self._max_values = max_values
        self._mistakes = mistakes
        self._visited = 0

    def take(self, kind: inspect.Type, node: Node, path: Path, about: str = "") -> Any:
        """The value of a node as a type wants it. `about` tells people what the field is. Raises TooMany."""
        self._visited += 1
        if self._visited > self._max_values:
            raise TooMany
        if isinstance(kind, inspect.Metadata):
            kind, about = kind.type, _about(kind)
        match kind:
            case inspect.StrType():
                return self._text(kind, node, path, about)
            case inspect.VarTupleType():
                return self._list(kind, node, path, about)
            case inspect.DictType():
                return self._dict(kind, node, path, about)
            case inspect.StructType():
                return self._struct(kind, node, path)
            case inspect.LiteralType():
                return self._choice(kind, node, path)
            case inspect.IntType():
                return self._integer(kind, node, path)
            case inspect.BoolType():
                return self._boolean(node, path)
            case inspect.UnionType(types=(one, inspect.NoneType())):
                return self.take(one, node, path, about)
        raise TypeError(f"a catalogue file has no {kind}")

    def _struct(self, kind: inspect.StructType, node: Node, path: Path) -> Any:
        if not isinstance(node, Mapping):
            names = ", ".join(field.name for field in kind.fields)
            self._wrong(node, path, f"expected names and values ({names}); found {found(node)}")
            return _blank(kind)
        misspelt = self._unknown(kind, node, path)
        taken: dict[str, Any] = {}
        for field in kind.fields:
            value = node.values.get(field.name)
            if value is not None and not (_null(value) and not field.required):
                taken[field.name] = self.take(field.type, value, (*path, field.name))
            elif field.required:
                taken[field.name] = _blank(field.type)
                if field.name not in misspelt:
                    self._wrong(node, (*path, field.name), f"missing; expected {_about(field.type) or 'a value'}")
        return kind.cls(**taken)

    def _unknown(self, kind: inspect.StructType, node: Mapping, path: Path) -> set[str]:
        """Tell of fields that there are not. Returns those that were probably meant."""
        fields = [field.name for field in kind.fields]
        misspelt: set[str] = set()
        if node.keys.keys() <= set(fields):
            return misspelt
        absent = [name for name in fields if name not in node.values]
        for name, key in node.keys.items():
            if name in fields:
                continue
            meant = get_close_matches(name, absent, n=1)
            misspelt.update(meant)
            if meant:
                told = f"unknown field; did you mean {meant[0]}?"
            elif name == "<<":
                told = "merge keys are not read: write the fields out"
            else:
                told = f"unknown field; expected one of {', '.join(fields)}"
            self._mistakes.add(key.line, key.column, (*path, name), told)
        self.unread.update((*path, name) for name in misspelt)
        return misspelt

    def _list(self, kind: inspect.VarTupleType, node: Node, path: Path, about: str) -> tuple[Any, ...]:
        if isinstance(node, Sequence):
            return tuple([self.take(kind.item_type, item, (*path, index)) for index, item in enumerate(node.items)])
        self._wrong(node, path, f"expected a list{_of(about)}; found {found(node)}")
        return ()

    def _dict(self, kind: inspect.DictType, node: Node, path: Path, about: str) -> dict[str, Any]:
        if isinstance(node, Mapping):
            return {name: self.take(kind.value_type, value, (*path, name)) for name, value in node.values.items()}
        self._wrong(node, path, f"expected names and values{_of(about)}; found {found(node)}")
        return {}

    def _text(self, kind: inspect.StrType, node: Node, path: Path, about: str) -> str:
        if not isinstance(node, Scalar) or node.null:
            self._wrong(node, path, f"expected a text{_of(about)}; found {found(node)}")
            return ""
        text = node.text
        bad = _UNKEEPABLE.search(text)
        if bad is not None:
            self._wrong(node, path, f"U+{ord(bad.group()):04X} cannot be kept in a text")
            return ""
        if kind.min_length is not None and len(text) < kind.min_length:
            self._tell(node, path, f"expected a text of {kind.min_length} or more characters{_of(about)}; found {len(text)}")
        if kind.max_length is not None and len(text) > kind.max_length:
            self._tell(node, path, f"expected a text of at most {kind.max_length} characters; found {len(text)}")
        if kind.pattern is not None and not _pattern(kind.pattern).fullmatch(text):
            self._tell(node, path, f"expected a text of the form {kind.pattern}{_of(about)}; found {found(node)}")
        return text

    def _integer(self, kind: inspect.IntType, node: Node, path: Path) -> int:
        limits = f" from {kind.ge} to {kind.le}" if kind.ge is not None and kind.le is not None else ""
        number = int(node.text) if isinstance(node, Scalar) and node.plain and _INTEGER.fullmatch(node.text) else None
        if number is None or not (kind.ge is None or number >= kind.ge) or not (kind.le is None or number <= kind.le):
            self._wrong(node, path, f"expected a whole number{limits}; found {found(node)}")
            return 0
        return number

    def _boolean(self, node: Node, path: Path) -> bool:
        if isinstance(node, Scalar) and node.plain and node.text in _BOOLEANS:
            return _BOOLEANS[node.text]
        self._wrong(node, path, f"expected true or false; found {found(node)}")
        return False

    def _choice(self, kind: inspect.LiteralType, node: Node, path: Path) -> Any:
        for value in kind.values:
            if isinstance(node, Scalar) and node.text == str(value) and (node.plain or isinstance(value, str)):
                return value
        choices = ", ".join(str(value) for value in kind.values)
        self._wrong(node, path, f"expected {'one of ' if len(kind.values) > 1 else ''}{choices}; found {found(node)}")
        return kind.values[0]

    def _wrong(self, node: Node, path: Path, message: str) -> None:
        self.unread.add(path)
        self._tell(node, path, message)

    def _tell(self, node: Node, path: Path, message: str) -> None:
        self._mistakes.add(node.line, node.column, path, message)


def found(node: Node) -> str:
    """What stands somewhere, for the end of a message."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "names and values"
    if node.null:
        return "nothing"
    return quoted(node.text) if node.plain else f"the text {quoted(node.text)}"


def _null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.null


def _of(about: str) -> str:
    return f" ({about})" if about else ""


def _about(kind: inspect.Type) -> str:
    schema = kind.extra_json_schema if isinstance(kind, inspect.Metadata) else None
    return str((schema or {}).get("description", ""))


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)  # as JSON Schema has it: \d is 0 to 9


def _blank(kind: inspect.Type) -> Any:
    """What stands for a value that could not be taken."""
    match kind:
        case inspect.Metadata(type=inner):
            return _blank(inner)
        case inspect.StrType():
            return ""
        case inspect.IntType():
            return 0
        case inspect.BoolType():
            return False
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.VarTupleType():
            return ()
        case inspect.DictType():
            return {}
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: _blank(field.type) for field in fields if field.required})
    return None
