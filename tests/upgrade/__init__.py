"""Data of earlier releases, and the tests that this program reads it as they did.

`kept/RELEASE/` holds an installation made by that release, a PostgreSQL dump of its catalogue, and signed requests with the
release's responses. `python -m tests.upgrade.make RELEASE` makes the folder, once per release and with that release's code. It
never changes afterwards.
"""
