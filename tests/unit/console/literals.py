"""The texts in the source that read as sentences, found by walking its syntax trees: `{}` stands for each value."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src" / "phimage"

_SENTENCE = re.compile(r"[a-z'] (?:[a-z{]|[0-9])|[}:,] [a-z]{2,}|^ [a-z(]")
"""Words in a row, or what continues a sentence."""
_NOT_SHOWN = frozenset(
    (
        *("Meta", "by_setting", "refuses", "warns", "notes"),  # documentation
        *("info", "warning", "exception", "bind"),  # the log
        *("text", "compile", "search"),  # statements and patterns
        *("SetupError", "ValueError", "TypeError", "IndexError", "RuntimeError", "OSError", "PermissionError"),
        *("HTTPException", "BeyondHead", "BadFrame"),  # another error is raised in their place
    )
)
"""Calls whose arguments no page shows."""


def sentences(file: Path) -> list[tuple[int, str]]:
    """The sentences in a file that a page may show, with their lines."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [(line, text) for line, text in _texts(tree, _docstrings(tree), _NOT_SHOWN) if _SENTENCE.search(text)]


def texts(file: Path) -> set[str]:
    """Every text in a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {text for _, text in _texts(tree, _docstrings(tree), frozenset())}


def _docstrings(tree: ast.Module) -> set[int]:
    return {
        id(statement.value)
        for node in ast.walk(tree)
        for statement in (getattr(node, "body", None) if isinstance(getattr(node, "body", None), list) else None) or ()
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }


def _texts(node: ast.AST, docstrings: set[int], left_out: frozenset[str]) -> Iterator[tuple[int, str]]:
    if id(node) in docstrings or (isinstance(node, ast.Call) and _called(node) in left_out):
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.lineno, node.value
        return
    if isinstance(node, ast.JoinedStr):
        yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _texts(part.value, docstrings, left_out)
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child, docstrings, left_out)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
