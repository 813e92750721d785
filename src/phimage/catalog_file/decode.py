"""Typed values from YAML nodes, led by the description of the file's types (`phimage.fields`).

A text is the characters of its scalar: `8.10` is "8.10" and `no` is "no". An empty value, `~` and `null` mean the default of
an optional field and are an error elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from typing import Any

from msgspec import Struct

from phimage.catalog_file.errors import ErrorList, Path, quoted
from phimage.catalog_file.yaml_nodes import Mapping, Node, Scalar, Sequence
from phimage.control_characters import find_control
from phimage.fields import Field, ValueType, fields_of

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that a YAML escape can produce and that no database stores."""


class TooManyValues(Exception):
    """Following the aliases visits too many nodes."""


class Decoder:
    """Decodes nodes and collects the errors.

    A value that cannot be decoded is replaced by a blank, and its path added to `undecoded`. A text with the wrong form or
    length is an error but keeps its value, so that references to it still resolve.
    """

    def __init__(self, errors: ErrorList, max_values: int) -> None:
        self.undecoded: set[Path] = set()
        self._max_values = max_values
        self._errors = errors
        self._visited = 0
        self._decoders: dict[str, Callable[[ValueType, Node, Path], Any]] = {
            "text": self._text,
            "integer": self._integer,
            "boolean": self._boolean,
            "choice": self._choice,
            "list": self._list,
            "map": self._map,
        }

    def record(self, record: type[Struct], node: Node, path: Path) -> Any:
        """The record in a node. Raises TooManyValues."""
        self._count()
        fields = fields_of(record)
        if not isinstance(node, Mapping):
            names = ", ".join(field.name for field in fields)
            self._reject(node, path, f"expected names and values ({names}); found {described(node)}")
            return _blank_record(record)
        misspelt = self._check_names(fields, node, path)
        values: dict[str, Any] = {}
        for field in fields:
            value = node.values.get(field.name)
            if value is not None and not (_is_null(value) and not field.required):
                values[field.name] = self._value(field.type, value, (*path, field.name))
            elif field.required:
                values[field.name] = _blank(field.type)
                if field.name not in misspelt:
                    self._reject(node, (*path, field.name), f"missing; expected {field.type.description or 'a value'}")
        return record(**values)

    def _value(self, type_: ValueType, node: Node, path: Path) -> Any:
        if type_.record is not None:
            return self.record(type_.record, node, path)
        self._count()
        return self._decoders[type_.shape](type_, node, path)

    def _count(self) -> None:
        self._visited += 1
        if self._visited > self._max_values:
            raise TooManyValues

    def _check_names(self, fields: tuple[Field, ...], node: Mapping, path: Path) -> set[str]:
        """Report unknown fields. Returns the fields that they probably stand for."""
        known = [field.name for field in fields]
        misspelt: set[str] = set()
        if node.keys.keys() <= set(known):
            return misspelt
        absent = [name for name in known if name not in node.values]
        for name, key in node.keys.items():
            if name in known:
                continue
            close = get_close_matches(name, absent, n=1)
            misspelt.update(close)
            if close:
                message = f"unknown field; did you mean {close[0]}?"
            elif name == "<<":
                message = "merge keys are not supported: write the fields out"
            else:
                message = f"unknown field; expected one of {', '.join(known)}"
            self._errors.add(key.line, key.column, (*path, name), message)
        self.undecoded.update((*path, name) for name in misspelt)
        return misspelt

    def _list(self, type_: ValueType, node: Node, path: Path) -> tuple[Any, ...]:
        assert type_.item is not None
        if isinstance(node, Sequence):
            return tuple([self._value(type_.item, item, (*path, index)) for index, item in enumerate(node.items)])
        self._reject(node, path, f"expected a list{_meaning(type_)}; found {described(node)}")
        return ()

    def _map(self, type_: ValueType, node: Node, path: Path) -> dict[str, Any]:
        assert type_.item is not None
        if isinstance(node, Mapping):
            return {name: self._value(type_.item, value, (*path, name)) for name, value in node.values.items()}
        self._reject(node, path, f"expected names and values{_meaning(type_)}; found {described(node)}")
        return {}

    def _text(self, type_: ValueType, node: Node, path: Path) -> str:
        if not isinstance(node, Scalar) or node.null:
            self._reject(node, path, f"expected a text{_meaning(type_)}; found {described(node)}")
            return ""
        text = node.text
        bad = _NOT_STORABLE.search(text)
        name = f"U+{ord(bad.group()):04X}" if bad else find_control(text, type_.controls)
        if name:
            self._reject(node, path, f"a text cannot contain {name}")
            return ""
        minimum, maximum = type_.min_length, type_.max_length
        if minimum is not None and len(text) < minimum:
            message = f"expected a text of {minimum} or more characters{_meaning(type_)}; found {len(text)}"
            self._report(node, path, message)
        if maximum is not None and len(text) > maximum:
            self._report(node, path, f"expected a text of at most {maximum} characters; found {len(text)}")
        if type_.pattern is not None and not _compiled(type_.pattern).fullmatch(text):
            message = f"expected a text of the form {type_.pattern}{_meaning(type_)}; found {described(node)}"
            self._report(node, path, message)
        return text

    def _integer(self, type_: ValueType, node: Node, path: Path) -> int:
        number = int(node.text) if isinstance(node, Scalar) and node.plain and _INTEGER.fullmatch(node.text) else None
        minimum, maximum = type_.min, type_.max
        if number is None or (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
            self._reject(node, path, f"expected {type_.expected}; found {described(node)}")
            return 0
        return number

    def _boolean(self, type_: ValueType, node: Node, path: Path) -> bool:
        if isinstance(node, Scalar) and node.plain and node.text in _BOOLEANS:
            return _BOOLEANS[node.text]
        self._reject(node, path, f"expected {type_.expected}; found {described(node)}")
        return False

    def _choice(self, type_: ValueType, node: Node, path: Path) -> Any:
        for value in type_.choices:
            if isinstance(node, Scalar) and node.text == str(value) and (node.plain or isinstance(value, str)):
                return value
        self._reject(node, path, f"expected {type_.expected}; found {described(node)}")
        return type_.choices[0]

    def _reject(self, node: Node, path: Path, message: str) -> None:
        """Report a value that is replaced by a blank."""
        self.undecoded.add(path)
        self._report(node, path, message)

    def _report(self, node: Node, path: Path, message: str) -> None:
        self._errors.add(node.line, node.column, path, message)


def described(node: Node) -> str:
    """A node in the words of a message: `nothing`, `a list`, `"text"`."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "names and values"
    if node.null:
        return "nothing"
    return quoted(node.text) if node.plain else f"the text {quoted(node.text)}"


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.null


def _meaning(type_: ValueType) -> str:
    return f" ({type_.description})" if type_.description else ""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)  # as in JSON Schema: \d is 0 to 9


def _blank(type_: ValueType) -> Any:
    """A value of a type in place of one that cannot be decoded."""
    if type_.nullable:
        return None
    if type_.record is not None:
        return _blank_record(type_.record)
    if type_.shape == "choice":
        return type_.choices[0]
    return {"text": "", "integer": 0, "boolean": False, "list": (), "map": {}}[type_.shape]


def _blank_record(record: type[Struct]) -> Any:
    return record(**{field.name: _blank(field.type) for field in fields_of(record) if field.required})
