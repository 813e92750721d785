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
_ANSWERS = "public_fields"
"""The method of errors with the fields of a response that is no page."""


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
    if left_out and isinstance(node, ast.FunctionDef) and node.name == _ANSWERS:
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


def remarks() -> dict[str, set[str]]:
    """The texts of findings by the ids of their kinds, or by the patterns of these ids."""
    found: dict[str, set[str]] = {}
    for path in (*sorted((SOURCE / "formats").glob("*.py")), SOURCE / "publishing" / "original.py"):
        format = path.stem.partition("_")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            id, said = "", None
            if isinstance(node, ast.Tuple | ast.Call) and (pair := node.elts if isinstance(node, ast.Tuple) else node.args):
                is_note = isinstance(node, ast.Tuple) or _called(node) == "note"
                id, said = (_text(pair[0]), pair[1]) if is_note and len(pair) == 2 else ("", None)
            if isinstance(node, ast.Call) and _called(node) in _FINDINGS and node.args:
                id, said = _FINDINGS[_called(node)].format(format=".+" if format == "reader" else format), node.args[0]
            if id and said is not None:
                found.setdefault(id, set()).update(_remarks(said))
    return found


_FINDINGS = {
    "Malformed": "{format}.malformed",
    "Truncated": "{format}.truncated",
    "ReadLimitExceeded": "examination.limit",
    "QemuFailed": "inspectors.disagree",
}
"""The findings that errors become."""


def _text(node: ast.AST) -> str:
    """A text, with `.+` for each value."""
    return next((text.replace("{}", ".+") for _, text in _texts(node, set(), frozenset())), "")


def _remarks(node: ast.AST) -> set[str]:
    """The texts of an expression, without those in a text's values."""
    if isinstance(node, ast.JoinedStr):
        return {next(text for _, text in _texts(node, set(), frozenset()))}
    return {text for child in ast.iter_child_nodes(node) for text in _remarks(child)} | (
        {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()
    )
