"""Writes the reference pages: `python -m phimage.reference [FOLDER]`, by default `docs/reference`."""

from __future__ import annotations

import sys
from pathlib import Path

from phimage.reference import pages

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")
folder.mkdir(parents=True, exist_ok=True)
for name, text in pages().items():
    (folder / name).write_text(text, "utf-8")
