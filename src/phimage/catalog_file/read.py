"""From the text of a catalogue file to a typed `Document` and the mistakes in it, all at once."""

from __future__ import annotations

from functools import cache

from msgspec import Struct, inspect

from phimage.catalog_file.document import FORMAT, Document
from phimage.catalog_file.mistake import Mistake, Mistakes, Path
from phimage.catalog_file.tree import MAX_VALUES, Mapping, Node, Scalar, Sequence, compose
from phimage.catalog_file.values import Taker, TooMany, found


class Reading(Struct, frozen=True):
    """What a file says. Where a value could not be taken, `document` has a blank and `unread` its path.

    The document is None when there is no telling what the file means; there are mistakes then.
    """

    document: Document | None
    mistakes: tuple[Mistake, ...]
    unread: frozenset[Path] = frozenset()
    root: Node | None = None

    def position(self, path: Path, *, at_name: bool = False) -> tuple[int, int]:
        """Line and column of the value at a path, or of the name before it; of what is around it where there is none."""
        node = self.root
        name: Scalar | None = None
        for part in path:
            if isinstance(node, Mapping) and part in node.values:
                name, node = node.keys[str(part)], node.values[str(part)]
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node, name = node.items[part], None
            else:
                break
        place = name if at_name and name is not None else node
        return (1, 1) if place is None else (place.line, place.column)


def read(text: str, max_values: int = MAX_VALUES) -> Reading:
    """Read a catalogue file of at most so many YAML values. It never raises: what is wrong is among the mistakes."""
    mistakes = Mistakes()
    root = compose(text, mistakes, max_values)
    if root is None:
        return Reading(None, mistakes.told())
    if not isinstance(root, Mapping):
        told = f"expected names and values, such as phimage: {FORMAT}; found {found(root)}"
        mistakes.add(root.line, root.column, (), told)
        return Reading(None, mistakes.told())
    taker = Taker(mistakes, max_values)
    try:
        document = taker.take(_type_of_document(), root, ())
    except TooMany:
        mistakes = Mistakes()  # the others are as many and explain nothing
        mistakes.add(root.line, root.column, (), f"with what its aliases repeat, the file has more than {max_values:,} values")
        return Reading(None, mistakes.told())
    assert isinstance(document, Document)
    return Reading(document, mistakes.told(), frozenset(taker.unread), root)


@cache
def _type_of_document() -> inspect.Type:
    return inspect.type_info(Document)
