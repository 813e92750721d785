"""`python -m phimage` is the `phimage` command."""

from phimage.cli import entry_point

if __name__ == "__main__":
    entry_point()
