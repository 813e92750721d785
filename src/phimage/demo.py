"""The demonstration: a data folder with a catalogue, an account with a well-known key, and custom images in two projects.

One of the images has bytes: a small generated disk.
"""

from __future__ import annotations

from pathlib import Path

from phimage import catalog_file, demo_disk
from phimage.catalog.accounts import ACCOUNTS, PROJECTS, NewKey, add_user, put_key
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Change
from phimage.catalog.views import Catalog
from phimage.catalog_file.plan import apply_plan, plan
from phimage.client import Client
from phimage.errors import SetupError
from phimage.installation import command_author, open_catalog, prepare, recover_operator_key
from phimage.model.account import Account, PrivateKey, Project
from phimage.model.ids import AccountId, ClusterId, ImageId, MachineTypeId, ProjectId, PublicKey, ZoneId
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
    new_key = prepare(settings).new_key
    catalog = open_catalog(settings)
    try:
        with catalog.change(command_author("ApplyCatalog")) as change:
            apply_plan(change, plan(change.connection, change.parent, catalog_file.starter(), prune=False))
        with catalog.change(command_author("Demo")) as change:
            if ACCOUNTS.find(change.connection, ACCOUNT) is None:
                _create_account(change, catalog)
                IMAGES.add_all(change, _custom_images(int(change.author.time)))
        demo_disk.publish(settings, catalog, WITH_DISK)
    finally:
        catalog.database.close()
    return new_key or (None if has_operator_key else recover_operator_key(settings))


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
