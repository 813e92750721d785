"""The command that writes the reference pages: `python -m phimage.reference [FOLDER]`."""

from __future__ import annotations

from pathlib import Path

import click

from phimage.reference import pages


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="docs/reference")
def write(folder: Path) -> None:
    """Write the reference pages into FOLDER, by default docs/reference."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")


write()
