"""The maker of kept data works with this program, and its requests cover what this program can be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.actions import registry
from phimage.gateway.registry import Credential
from tests.upgrade.kept import Kept
from tests.upgrade.make import make


@pytest.mark.torture
def test_this_program_can_leave_data_that_covers_every_action_that_reads(tmp_path: Path) -> None:
    make(tmp_path / "now")
    kept = Kept(tmp_path / "now")
    answered = {exchange.response["Fields"]["Action"] for exchange in kept.exchanges if _is_good(exchange.response)}
    of_keys = (action for action in registry() if action.credential is Credential.KEY)  # an agent's depend on when it asks
    reading = {f"{action.name}Response" for action in of_keys if not action.changes}
    assert reading <= answered
    assert len(kept.exchanges) >= 200
    assert kept.about.revision >= 20
    assert sum(file.stat().st_size for file in (tmp_path / "now").iterdir()) <= 300_000


def _is_good(response: dict[str, object]) -> bool:
    fields = response.get("Fields")
    return isinstance(fields, dict) and fields.get("RetCode") == 0
