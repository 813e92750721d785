"""The `phimage` process, also as `python -m phimage`.

Importing the commands takes most of the start of a short one, and Ctrl-C may come meanwhile.
"""

from __future__ import annotations

import os
from typing import NoReturn

INTERRUPTED = 130  # as in cli.exit_codes, which is not imported yet


def main() -> NoReturn:
    """Import the commands, then run the one of the command line."""
    try:
        from phimage.cli import entry_point
    except KeyboardInterrupt:
        os.write(2, b"interrupted\n")
        os._exit(INTERRUPTED)
    entry_point()


if __name__ == "__main__":
    main()
