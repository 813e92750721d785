"""From the text of a catalogue file to a typed `Document` and all errors in it."""

from __future__ import annotations

from msgspec import Struct

from phimage.catalog_file.decode import Decoder, TooManyValues, described
from phimage.catalog_file.document import FORMAT, Document
from phimage.catalog_file.errors import ErrorList, FileError, Path
from phimage.catalog_file.yaml_nodes import MAX_VALUES, Mapping, Node, Scalar, Sequence


class ParsedFile(Struct, frozen=True):
    """A file after parsing. Where a value cannot be decoded, `document` has a blank and `undecoded` the path.

    The document is None when the file is not YAML, or not a mapping; then there are errors.
    """

    document: Document | None
    errors: tuple[FileError, ...]
    undecoded: frozenset[Path] = frozenset()
    root: Node | None = None

    def position(self, path: Path, *, at_name: bool = False) -> tuple[int, int]:
        """Line and column of the value at a path or, `at_name`, of its name; of the innermost value on the path that exists."""
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


def read(text: str, max_values: int = MAX_VALUES) -> ParsedFile:
    """Read a catalogue file of at most `max_values` YAML values. Never raises: the result has the errors."""
    from phimage.catalog_file.yaml_reader import compose  # docs/decisions.md#modules-are-imported-at-first-use

    errors = ErrorList()
    root = compose(text, errors, max_values)
    if root is None:
        return ParsedFile(None, errors.in_order())
    if not isinstance(root, Mapping):
        message = f"expected names and values, such as phimage: {FORMAT}; found {described(root)}"
        errors.add(root.line, root.column, (), message)
        return ParsedFile(None, errors.in_order())
    decoder = Decoder(errors, max_values)
    try:
        document = decoder.record(Document, root, ())
    except TooManyValues:
        errors = ErrorList()  # the earlier errors are repeated by the aliases too, and hide the reason
        errors.add(root.line, root.column, (), f"counted with its aliases, the file has more than {max_values:,} values")
        return ParsedFile(None, errors.in_order())
    assert isinstance(document, Document)
    return ParsedFile(document, errors.in_order(), frozenset(decoder.undecoded), root)
