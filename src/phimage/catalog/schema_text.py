"""The SQL text that makes the schema in an empty database, written from the migrations. `make schema` writes it.

A test compares it with the migrations.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Literal, get_args

Dialect = Literal["sqlite", "postgresql"]

FOLDER = Path(__file__).parent / "migrations"
_SEPARATOR = ";\n\n"
_VERSION_TABLE = "alembic_version"


def statements(dialect: str) -> list[str]:
    """The statements that make the newest schema in an empty database, with its first rows."""
    text = _file(dialect).read_text("utf-8")
    return [statement for statement in text.split(_SEPARATOR) if statement]


def text_of_migrations(dialect: Dialect) -> str:
    """The text of the present migrations."""
    from alembic import command

    from phimage.catalog import schema

    steps = schema.migrations()
    output = StringIO()
    config = schema.configuration(None, output=output)
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)
    made = [_without_comments(statement) for statement in output.getvalue().split(_SEPARATOR)]
    versions = (f"INSERT INTO {_VERSION_TABLE}", f"UPDATE {_VERSION_TABLE}", "BEGIN", "COMMIT")
    kept = [statement for statement in made if statement and not statement.startswith(versions)]
    kept.append(f"INSERT INTO {_VERSION_TABLE} (version_num) VALUES ('{steps[-1].revision}')")  # noqa: S608
    kept.append(f"UPDATE head SET oldest='{schema.oldest_beside(steps)}'")  # noqa: S608
    return "".join(statement + _SEPARATOR for statement in kept)


def _without_comments(statement: str) -> str:
    return "\n".join(line.rstrip() for line in statement.splitlines() if line and not line.startswith("--"))


def _file(dialect: str) -> Path:
    return FOLDER / f"new.{dialect}.sql"


if __name__ == "__main__":
    for each in get_args(Dialect):
        _file(each).write_text(text_of_migrations(each), "utf-8")
