"""The translations of the API's sentences: each sentence of the source that a page can show has one."""

from __future__ import annotations

import re
import string
from functools import cache

import pytest

from phimage.actions.publish import PublishPHostImage
from phimage.console.change_kinds import KINDS as CHANGES
from phimage.console.sentences import MAX_SENTENCE, PARTS, sentences_of, translate
from phimage.console.texts import LANGUAGES, texts_of
from phimage.errors import REQUEST_ERRORS
from phimage.fields import ValueType, fields_of
from phimage.formats.finding import Finding, FindingKind
from phimage.formats.table import KINDS
from phimage.model.host import HostState
from phimage.model.image import State
from phimage.model.job import JobState
from phimage.publishing.errors import refused_for
from tests.unit.console.literals import SOURCE, sentences, texts

OTHERS = LANGUAGES[1:]
CHINESE = texts_of("zh")

SHOWN = (
    *("actions", "agent", "catalog", "chunks", "console", "formats", "gateway", "http", "model", "publishing", "sources"),
    *("chunk_upload.py", "control_characters.py", "errors.py", "fields.py"),
)
"""Rooms and files whose sentences a page can show."""
NOT_SHOWN = (
    *("backup", "catalog_file", "ci", "cli", "maintenance", "processes", "reference", "rescue", "upload_client"),  # commands
    *("delivery", "uploads"),  # bytes, which no page asks for
    "metrics",
    *("__init__.py", "__main__.py", "agent_archive.py", "application.py", "client.py", "demo.py", "demo_disk.py"),
    *("demo_steps.py", "drill.py", "event_log.py", "files.py", "http_client.py", "http_signature.py", "installation.py"),
    *("json_schema.py", "lru.py", "ownership.py", "pytest.py", "revision_cache.py", "settings.py", "waiting.py"),
    "zstd_frame.py",
)
"""All others."""
FILES_NOT_SHOWN = {
    "actions/agent.py": "answers to agents",
    "actions/agent_orders.py": "answers to agents",
    "actions/authorizers.py": "answers to requests for bytes",
    "actions/catalog.py": "no page applies a catalogue file",
    "actions/topology.py": "names of disks",
    "agent/__main__.py": "a command",
    "agent/capture_command.py": "a command",
    "agent/deploy_command.py": "a command",
    "agent/disk_list.py": "a command",
    "agent/hardware.py": "no order has begun",
    "agent/progress_line.py": "a command",
    "agent/run_command.py": "a command",
    "agent/server_link.py": "the server does not answer, so it does not receive them",
    "catalog/address.py": "settings",
    "catalog/key_encryption.py": "settings",
    "catalog/lookup.py": "SQL",
    "catalog/template.py": "SQL",
    "catalog/views.py": "names of cached values",
    "console/pages/snippets.py": "programs",
    "console/rendering.py": "markup",
    "formats/ext4.py": "`hygiene.scan` says where it could not read",
    "formats/partition.py": "names of partitions",
    "formats/sandbox_child.py": "settings",
    "formats/walls.py": "settings",
    "gateway/app.py": "answers to requests over the network, which pages do not send",
    "gateway/describe.py": "documentation",
    "gateway/doctor.py": "signatures",
    "gateway/openapi.py": "documentation",
    "gateway/params.py": "the console sends well-formed requests",
    "gateway/registry.py": "defects",
    "gateway/schemas.py": "documentation",
    "http/conditions.py": "documentation",
}
"""Files of the shown rooms that pages show nothing of, and why."""
UNTRANSLATED = {
    "actions/images.py": {"{} [not published: {}]"},  # DescribePHostImage, which no page uses
    "agent/agent_run.py": {"enrolled as {} ({}); waiting for orders", "{}; trying again", "enroll first"},  # printed
    "agent/errors.py": {"RetCode {}: {}", " ({})"},  # the server refused the agent, so it does not receive it
    "agent/prepared_deploy.py": {"the kernel did not read the partition table again: {}"},  # printed
    "agent/upload_requests.py": {
        *("it cannot take it now; look at its log", "it gave no reason"),  # texts of the server take their place
        "{} takes nothing more for this upload: {}; look at the state of its image",  # the order is gone
    },
    "catalog/accounts.py": {"phimage installation {}"},
    "catalog/engine.py": {"the database {}", "SELECT set_config('lock_timeout', '{}ms', true), {}"},
    "catalog/waits.py": {"starting up", "shutting down", "too many", "recovery mode", "remaining connection slots"},  # read
    "chunks/decorators.py": {"the store {}"},  # commands
    "chunks/folder.py": {"folder {}"},
    "chunks/object_store.py": {" at {}"},
    "chunks/scrub.py": {"chunks of {} places on the disk are not in the store"},  # a command
    "console/app.py": {"console forms", "public, max-age=31536000, immutable"},
    "console/catalog_sessions.py": {"console sign-in"},
    "formats/reader.py": {"{} is neither a regular file nor a block device"},  # files of publications are regular
    "publishing/errors.py": {"--override {}"},
}
"""Other texts that stay English, or are none."""
FRAGMENTS = (
    *(" and {} more", "it has ", "cancelled by ", ", only for {}", " ({})", "at byte {}", "is {}: ", "{} to {}", " of {}"),
    *("at least {}", "at most {}", "too many", "of a wrong size", "{} does not offer {} on {}", " or "),
    "{}: correct one of them, or add the offer",
)
"""Pieces of which the source composes sentences. A sentence of the file has each of them."""
OF_OTHERS = re.compile(
    r"Connection|Network is|No route|Broken pipe|No space left|No such file|Permission denied|Input/output|Read-only|"
    r"device or resource|no such file or|permission denied|read-only file system|no medium| has host bits| does not appear"
)
"""Texts of the operating system and of Python that stand in sentences."""


def test_each_room_is_one_whose_sentences_pages_show_or_do_not() -> None:
    assert sorted((*SHOWN, *NOT_SHOWN)) == sorted(
        path.name for path in SOURCE.iterdir() if path.name not in ("__pycache__", "py.typed")
    )
    assert [name for name in (*FILES_NOT_SHOWN, *UNTRANSLATED) if not (SOURCE / name).exists()] == []
