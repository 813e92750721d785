"""${message}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
compatible_with = ${repr(down_revision)}  # the oldest schema whose programs can go on beside this one


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
