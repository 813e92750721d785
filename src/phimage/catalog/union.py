"""Records of several nouns, read in one statement: one way to the database and back, and all as of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    Text,
    cast,
    literal_column,
    null,
    select,
    union_all,
)

from phimage.catalog import tables
from phimage.catalog.question import Question, Row
from phimage.catalog.versioned_table import VersionedTable
from phimage.model.ids import Revision

_KINDS = (Text, Integer, Boolean, LargeBinary)
"""The kinds of columns that parts share. Integer stands for every size of it."""


class Union:
    """The newest revision, and the records of some nouns that hold at it, each under its own condition.

    The rows of all parts have the same columns: as many of each kind as one of them needs. What a part has not is null.
    """

    def __init__(self, *parts: tuple[VersionedTable[Any], ColumnElement[bool]]) -> None:
        self._facts = [facts for facts, _ in parts]
        kinds = [[_kind(column) for column in facts.columns] for facts, _ in parts]
        shape = [kind for kind in _KINDS for _ in range(max(own.count(kind) for own in kinds))]
        self._places = [_places(own, shape) for own in kinds]
        selects = (
            _select(number, facts, where, places, shape)
            for number, ((facts, where), places) in enumerate(zip(parts, self._places, strict=True))
        )
        self.question = Question(union_all(*selects))
        """What to ask; `records` reads the answer."""

    def records(self, rows: Sequence[Row]) -> tuple[Revision, list[list[Any]]]:
        """The newest revision, 0 if there are no records at all, and for each part its records, in no particular order."""
        found: list[list[Any]] = [[] for _ in self._facts]
        newest = Revision(rows[0][0] if rows else 0)
        for _, number, *row in rows:
            found[number].append(self._facts[number].decode([row[place] for place in self._places[number]]))
        return newest, found


def _select(
    number: int, facts: VersionedTable[Any], where: ColumnElement[bool], places: list[int], shape: list[Any]
) -> Select[tuple[Any, ...]]:
    columns: list[ColumnElement[Any]] = [cast(null(), BigInteger if kind is Integer else kind) for kind in shape]
    for place, column in zip(places, facts.columns, strict=True):
        columns[place] = column
    named = [column.label(f"value{place}") for place, column in enumerate(columns)]
    part = literal_column(str(number), Integer).label("part")
    newest = select(tables.head.c.number).scalar_subquery().label("newest")
    return select(newest, part, *named).where(facts.table.c.until == tables.LIVING, where)


def _kind(column: ColumnElement[Any]) -> Any:
    return next(kind for kind in _KINDS if isinstance(column.type, kind))


def _places(own: list[Any], shape: list[Any]) -> list[int]:
    """Where each column of a part goes in the shape."""
    return [shape.index(kind) + own[:position].count(kind) for position, kind in enumerate(own)]
