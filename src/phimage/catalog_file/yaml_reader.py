"""YAML text as a tree of nodes with their lines and columns.

Built from parser events, not by PyYAML's composer: no object is constructed, a scalar keeps its text, and every structural
error is reported. Depth and number of nodes are limited against hostile files; an alias is the node that it names, not a copy.
"""

from __future__ import annotations

import re

import yaml
from msgspec import Struct

from phimage.catalog_file.errors import ErrorList, Path, printable
from phimage.catalog_file.yaml_nodes import MAX_VALUES, Mapping, Node, Scalar, Sequence
from phimage.control_characters import find_control

MAX_NESTING = 32
"""Max depth of nested lists and mappings; the format needs six levels."""

_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
"""What YAML does not allow, and the control and bidirectional characters that no text may have: comments neither, because a
reviewer reads them too."""
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


_NO_NAME = Scalar("", plain=False, line=0, column=0)
"""Replaces a key that is not a text; its value is skipped."""


class _Stop(Exception):
    """The file cannot be read further; the reason is in the errors."""


class _Open(Struct):
    """A list or mapping whose end is not read yet. `key` has no value yet. `skipped`: parsed, but not part of the tree."""

    node: Sequence | Mapping
    path: Path
    anchor: str | None
    skipped: bool
    key: Scalar | None = None


class _Composer:
    def __init__(self, errors: ErrorList, max_values: int) -> None:
        self._max_values = max_values
        self._errors = errors
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self.roots: list[Node] = []

    def take(self, event: yaml.Event) -> None:
        assert event.start_mark is not None
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.ScalarEvent):
            scalar = Scalar(event.value, not event.style, line, column)
            path, _ = self._attach(scalar)
            self._check_tag(event.tag, line, column, path)
            if event.anchor is not None:
                self._anchors[event.anchor] = scalar
        elif isinstance(event, yaml.CollectionStartEvent):
            node = Mapping(line, column) if isinstance(event, yaml.MappingStartEvent) else Sequence(line, column)
            path, skipped = self._attach(node)
            self._check_tag(event.tag, line, column, path)
            self._open.append(_Open(node, path, event.anchor, skipped))
            if len(self._open) > MAX_NESTING:
                self._stop(line, column, f"lists and mappings are nested more than {MAX_NESTING} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self._open.pop()
            if closed.anchor is not None:
                self._anchors[closed.anchor] = closed.node
        elif isinstance(event, yaml.AliasEvent):
            self._attach(self._named(event.anchor or "", line, column))
        elif isinstance(event, yaml.DocumentStartEvent) and self.roots:
            self._stop(line, column, "a second YAML document begins here; expected one")

    def _attach(self, node: Node) -> tuple[Path, bool]:
        """Add a node to the open list or mapping. Returns its path, and whether it is skipped."""
        self._nodes += 1
        if self._nodes > self._max_values:
            self._stop(node.line, node.column, f"the file has more than {self._max_values:,} values")
        if not self._open:
            self.roots.append(node)
            return (), False
        parent = self._open[-1]
        if isinstance(parent.node, Sequence):
            parent.node.items.append(node)
            return (*parent.path, len(parent.node.items) - 1), parent.skipped
        if parent.key is None:
            return self._attach_key(parent, node)
        key, parent.key = parent.key, None
        path = (*parent.path, key.text)
        if key is _NO_NAME or key.text in parent.node.values:
            return path, True
        parent.node.keys[key.text] = key
        parent.node.values[key.text] = node
        return path, parent.skipped

    def _attach_key(self, parent: _Open, node: Node) -> tuple[Path, bool]:
        assert isinstance(parent.node, Mapping)
        if not isinstance(node, Scalar):
            if not parent.skipped:
                self._errors.add(node.line, node.column, parent.path, "expected a name, found a list or a mapping")
            parent.key = _NO_NAME
            return parent.path, True
        parent.key = node
        path = (*parent.path, node.text)
        first = parent.node.keys.get(node.text)
        if first is not None and not parent.skipped:
            self._errors.add(node.line, node.column, path, f"given twice, first in line {first.line}")
        return path, True

    def _named(self, anchor: str, line: int, column: int) -> Node:
        if anchor not in self._anchors:
            path = self._open[-1].path if self._open else ()
            self._errors.add(line, column, path, f"*{anchor} names nothing: there is no complete &{anchor} before it")
            return Scalar("", plain=True, line=line, column=column)
        return self._anchors[anchor]

    def _check_tag(self, tag: str | None, line: int, column: int, path: Path) -> None:
        if tag is not None:
            name = printable(tag.replace("tag:yaml.org,2002:", "!!"))
            self._errors.add(line, column, path, f"tags are not supported: leave out {name}")

    def _stop(self, line: int, column: int, message: str) -> None:
        self._errors.add(line, column, (), message)
        raise _Stop


# docs/decisions.md#types-read-the-yaml
def compose(text: str, errors: ErrorList, max_values: int = MAX_VALUES) -> Node | None:
    """The root of the only document in a text; None when the text is not YAML or has more than `max_values` nodes."""
    if _has_forbidden_characters(text, errors):
        return None
    composer = _Composer(errors, max_values)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = ": ".join(part for part in (error.context, error.problem) if part)
        errors.add(line, column, (), f"this is not YAML: {reason}")
        return None
    except yaml.YAMLError as error:
        errors.add(1, 1, (), f"this is not YAML: {error}")
        return None
    return composer.roots[0] if composer.roots else Scalar("", plain=True, line=1, column=1)


def _has_forbidden_characters(text: str, errors: ErrorList) -> bool:
    match = _FORBIDDEN.search(text)
    if match is None:
        return False
    remedy = "remove it" if find_control(match.group(), "lines") else "between double quotes write it as an escape"
    before = _BREAK.split(text[: match.start()])
    message = f"U+{ord(match.group()):04X} is not allowed in a catalogue file; {remedy}"
    errors.add(len(before), len(before[-1]) + 1, (), message)
    return True
