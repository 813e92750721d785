"""The server that tests of the command line share. They change nothing that another one looks at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.site import Site, running
from tests.e2e.process import Phimage


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(Phimage(tmp_path_factory.mktemp("site"))) as found:
        yield found
