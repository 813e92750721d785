"""YAML text as a tree of nodes that know where they stand.

Built from parser events, not by PyYAML's composer: no object is ever constructed, a scalar keeps its text, every mistake
of structure is told, and what a hostile file can cost is bounded before it is spent (depth, nodes; an alias is the
node that it names, never a copy).
"""

from __future__ import annotations

import re

import yaml
from msgspec import Struct, field

from phimage.catalog_file.mistake import Mistakes, Path

DEEPEST = 32
"""How deep lists and mappings may stand in one another; the format needs six levels."""

MAX_VALUES = 1_000_000
"""How many nodes are read, those behind aliases each time. A catalogue of 5,000 images has about 300,000."""

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class Scalar(Struct):
    """A text as it is written, without its quotes. `plain` says that there were none."""

    text: str
    plain: bool
    line: int
    column: int

    @property
    def null(self) -> bool:
        """Whether nothing was written, or one of YAML's words for it."""
        return self.plain and self.text in _NULL


class Sequence(Struct):
    """A list."""

    line: int
    column: int
    items: list[Node] = field(default_factory=list)


class Mapping(Struct):
    """Names and values in the order of the file. Of a name given twice the first value counts."""

    line: int
    column: int
    keys: dict[str, Scalar] = field(default_factory=dict)
    values: dict[str, Node] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping

_NO_NAME = Scalar("", plain=False, line=0, column=0)
"""Stands for a key that is no text; its value is thrown away."""


class _Stop(Exception):
    """Reading on makes no sense; the reason is among the mistakes."""


class _Open(Struct):
    """A list or mapping that has not ended. `key` waits for its value; a `skipped` one is read and thrown away."""

    node: Sequence | Mapping
    path: Path
    anchor: str | None
    skipped: bool
    key: Scalar | None = None


class _Composer:
    def __init__(self, mistakes: Mistakes, max_values: int) -> None:
        self._max_values = max_values
        self._mistakes = mistakes
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
            self._note(event.tag, line, column, path)
            if event.anchor is not None:
                self._anchors[event.anchor] = scalar
        elif isinstance(event, yaml.CollectionStartEvent):
            node = Mapping(line, column) if isinstance(event, yaml.MappingStartEvent) else Sequence(line, column)
            path, skipped = self._attach(node)
            self._note(event.tag, line, column, path)
            self._open.append(_Open(node, path, event.anchor, skipped))
            if len(self._open) > DEEPEST:
                self._stop(line, column, f"lists and mappings stand in one another more than {DEEPEST} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._open.pop()
            if done.anchor is not None:
                self._anchors[done.anchor] = done.node
        elif isinstance(event, yaml.AliasEvent):
            self._attach(self._named(event.anchor or "", line, column))
        elif isinstance(event, yaml.DocumentStartEvent) and self.roots:
            self._stop(line, column, "a second document begins here; expected one")

    def _attach(self, node: Node) -> tuple[Path, bool]:
        """Put a node where it belongs. Returns its path, and whether it is skipped."""
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
                self._mistakes.add(node.line, node.column, parent.path, "expected a name, found a list or a mapping")
            parent.key = _NO_NAME
            return parent.path, True
        parent.key = node
        path = (*parent.path, node.text)
        first = parent.node.keys.get(node.text)
        if first is not None and not parent.skipped:
            self._mistakes.add(node.line, node.column, path, f"given twice, first in line {first.line}")
        return path, True

    def _named(self, anchor: str, line: int, column: int) -> Node:
        if anchor not in self._anchors:
            path = self._open[-1].path if self._open else ()
            self._mistakes.add(line, column, path, f"*{anchor} names nothing: there is no complete &{anchor} before it")
            return Scalar("", plain=True, line=line, column=column)
        return self._anchors[anchor]

    def _note(self, tag: str | None, line: int, column: int, path: Path) -> None:
        if tag is not None:
            self._mistakes.add(line, column, path, f"tags are not read: leave out {tag.replace('tag:yaml.org,2002:', '!!')}")

    def _stop(self, line: int, column: int, message: str) -> None:
        self._mistakes.add(line, column, (), message)
        raise _Stop


def compose(text: str, mistakes: Mistakes, max_values: int = MAX_VALUES) -> Node | None:
    """The root of the one document in a text; None if there is no telling what was meant."""
    if _has_forbidden_characters(text, mistakes):
        return None
    composer = _Composer(mistakes, max_values)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        told = ": ".join(part for part in (error.context, error.problem) if part)
        mistakes.add(line, column, (), f"this is not YAML: {told}")
        return None
    except yaml.YAMLError as error:
        mistakes.add(1, 1, (), f"this is not YAML: {error}")
        return None
    return composer.roots[0] if composer.roots else Scalar("", plain=True, line=1, column=1)


def _has_forbidden_characters(text: str, mistakes: Mistakes) -> bool:
    found = _NOT_YAML.search(text)
    if found is None:
        return False
    before = _BREAK.split(text[: found.start()])
    told = f"U+{ord(found.group()):04X} cannot stand in a YAML file; between double quotes write it as an escape"
    mistakes.add(len(before), len(before[-1]) + 1, (), told)
    return True
