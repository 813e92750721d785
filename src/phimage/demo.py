"""The demonstration: a data folder with a catalogue, an account with a well-known key, and custom images in two projects.

One of the images has bytes: a small generated disk.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from pathlib import Path

from phimage import catalog_file, demo_disk
from phimage.catalog.accounts import (
    ACCOUNTS,
    FIRST_USER,
    PROJECTS,
    NewKey,
    add_user,
    any_account,
    installation_id,
    new_key,
    put_key,
)
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Change
from phimage.catalog.template import FILE, TIME, TemplateKey, text_of, write_rows
from phimage.catalog.views import Catalog
from phimage.catalog_file.plan import apply_plan, plan
from phimage.chunks import owner
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.client import Client
from phimage.errors import SetupError
from phimage.installation import (
    FIRST_REVISION,
    OPERATOR,
    command_author,
    open_catalog,
    open_operator_account,
    prepare,
    recover_operator_key,
)
from phimage.model.account import Account, PrivateKey, Project
from phimage.model.ids import (
    AccountId,
    ClusterId,
    ImageId,
    MachineTypeId,
    ProjectId,
    PublicKey,
    RandomBytes,
    Revision,
    UserId,
    ZoneId,
)
from phimage.model.image import Image, ImageType, State
from phimage.settings import Settings

# The key pair of the examples in the documentation of signatures: not secret, and useful to compare signatures.
PUBLIC_KEY = PublicKey("ucloudsomeone@example.com1296235120854146120")
PRIVATE_KEY = PrivateKey("46f09bb9fab4f12dfc160dae12273d5332b5debe")

ACCOUNT = AccountId("demo")
REGION = catalog_file.STARTER_REGION
ZONE = ZoneId(catalog_file.STARTER_ZONE)
PROJECTS_OF_DEMO = ((ProjectId("org-default"), "Default"), (ProjectId("org-xyz"), "Lab"))

WITH_DISK = ImageId("pimg-os-web7k2ma")
"""The custom image that has the demonstration disk."""

DEMO_REVISION = Revision(3)
"""The revision of the account, after the first start and the starter catalogue."""

MARK = "phimage-demo"
"""A file that marks the data folder of the demonstration."""


def claim(folder: Path) -> None:
    """Mark a data folder for the demonstration. Raises SetupError if it has other contents."""
    try:
        if folder.exists() and not (folder / MARK).exists() and any(folder.iterdir()):
            raise SetupError(f"{folder} is not a folder of the demonstration: choose another with --data-dir, or remove it")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / MARK).write_text("created by phimage demo; it may be removed\n")
    except OSError as error:
        raise SetupError(f"{folder} cannot be used: {error.strerror}; choose another with --data-dir") from None


def fill(settings: Settings, *, has_operator_key: bool = True) -> NewKey | None:
    """Create the catalogue, account and images of the demonstration in a data folder that it claimed. Idempotent.

    Returns a key of the operator, unless the caller has one from an earlier start.
    """
    is_sqlite = not settings.database.startswith("postgres")
    new_key = prepare(settings, _write_template if is_sqlite else None).new_key
    catalog = open_catalog(settings)
    try:
        if not (is_sqlite and new_key):
            fill_catalog(settings, catalog)
        with catalog.database.read() as connection:
            image_bytes = IMAGE_BYTES.find(connection, WITH_DISK)
        if image_bytes is not None and image_bytes.stored:
            demo_disk.store_again(open_store(settings.store_place), image_bytes)
    finally:
        catalog.database.close()
    return new_key or (None if has_operator_key else recover_operator_key(settings))


def fill_catalog(
    settings: Settings, catalog: Catalog, random: RandomBytes = secrets.token_bytes, now: Callable[[], float] = time.time
) -> None:
    """Write the starter catalogue, the account and its images, and publish the disk, unless they are there."""
    with catalog.change(command_author("ApplyCatalog", now())) as change:
        apply_plan(change, plan(change.connection, change.parent, catalog_file.starter(), prune=False), random)
    with catalog.change(command_author("Demo", now())) as change:
        if ACCOUNTS.find(change.connection, ACCOUNT) is None:
            _create_account(change, catalog)
            IMAGES.add_all(change, _custom_images(int(change.author.time)))
    demo_disk.publish(settings, catalog, WITH_DISK, random, now)


# docs/decisions.md#the-demonstration-starts-from-a-template
def _write_template(catalog: Catalog, store: Store) -> NewKey | None:
    """Write the template and claim the store: the disk that the rows name is written afterwards."""
    operator = new_key(secrets.token_bytes)
    with catalog.database.write() as connection:
        if any_account(connection):
            return None
        write_rows(connection, keys(operator), catalog.key_encryption, time.time())
        id = installation_id(connection)
    assert id is not None
    owner.claim(store, id)
    return operator


def keys(operator: NewKey) -> tuple[TemplateKey, ...]:
    """The keys of the template: the operator's, and the well-known one of the account."""
    return (
        TemplateKey(operator, OPERATOR, FIRST_USER, FIRST_REVISION),
        TemplateKey(NewKey(PUBLIC_KEY, PRIVATE_KEY), ACCOUNT, UserId(FIRST_USER + 1), DEMO_REVISION),
    )


def make_template(settings: Settings) -> str:
    """Fill an empty data folder as if it were TIME and without randomness, and return the text of the template."""
    random = count_up()
    first_keys: list[NewKey] = []

    def first(catalog: Catalog, store: Store) -> NewKey | None:
        found = open_operator_account(catalog, random, TIME)
        first_keys.extend([found] if found else [])
        return found

    prepare(settings, first)
    catalog = open_catalog(settings)
    try:
        fill_catalog(settings, catalog, random, lambda: TIME)
        return text_of(catalog.database, first_keys[0].public)
    finally:
        catalog.database.close()


def _create_account(change: Change, catalog: Catalog) -> None:
    created = int(change.author.time)
    ACCOUNTS.put(change, Account(ACCOUNT, False, "Demonstration", "someone@example.com", (), (), created))
    user = add_user(change, ACCOUNT, "main", "someone@example.com", main=True)
    for position, (project, name) in enumerate(PROJECTS_OF_DEMO):
        PROJECTS.put(change, Project(project, ACCOUNT, name, position == 0, created))
    put_key(change, user, catalog.key_encryption, NewKey(PUBLIC_KEY, PRIVATE_KEY))


def _custom_images(now: int) -> list[Image]:
    default, lab = (project for project, _ in PROJECTS_OF_DEMO)
    return [
        _custom(WITH_DISK, default, "web-frontend", "Ubuntu", "Ubuntu 22.04 64位", now - 86_400, State.AVAILABLE),
        _custom("pimg-os-db4x9tqe", default, "mysql-primary", "CentOS", "CentOS 7.9 64位", now - 7_200, State.AVAILABLE),
        _custom("pimg-os-ci6h3wzn", default, "build-runner", "Debian", "Debian 12 64位", now - 300, State.MAKING),
        _custom("pimg-os-lab2v8pd", lab, "kernel-lab", "Ubuntu", "Ubuntu 24.04 64位", now - 3_600, State.AVAILABLE),
        _custom("pimg-os-old5r7uc", lab, "kernel-lab-old", "Ubuntu", "Ubuntu 20.04 64位", now - 9_000, State.UNAVAILABLE),
    ]


def _custom(id: str, project: ProjectId, name: str, os_type: str, os_name: str, created: int, state: State) -> Image:
    return Image(
        id=ImageId(id),
        type=ImageType.CUSTOM,
        project=project,
        family="",
        name=name,
        os_type=os_type,
        os_name=os_name,
        version="v1.0",
        description="custom image of the demonstration",
        state=state,
        deprecated=False,
        size=40,
        created=created,
        zones=(ZONE,),
        support={
            MachineTypeId("Base-SSD-V5"): (ClusterId("10G"), ClusterId("25G")),
            MachineTypeId("DB-2"): (ClusterId("10G"),),
        },
    )


def client(endpoint: str) -> Client:
    """A client with the key of the demonstration."""
    return Client(endpoint, PUBLIC_KEY, PRIVATE_KEY)


def count_up() -> RandomBytes:
    """A source of bytes that is the same in every run."""
    numbers = count()
    return lambda length: sha256(b"template %d" % next(numbers)).digest()[:length].ljust(length, b"\0")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_text(make_template(Settings(data_dir=folder, min_free_mb=1)), "utf-8")
    sys.stdout.write(f"{FILE}\n")
