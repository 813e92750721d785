"""`python -m phimage` is the `phimage` command."""

from phimage.cli import main

if __name__ == "__main__":
    main()
