"""Catalogues to measure with: seeded, so that the same size is the same catalogue everywhere, and kept between runs.

A catalogue of N has the starter's places, 300 base images, N custom images in N / 10 projects, two projects an account, and one
key an account. Where there are at least 100,000 images, the first project has 10,000 of them; the rest are shared out evenly.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from phimage import catalog_file
from phimage.catalog import schema
from phimage.catalog.accounts import ACCOUNTS, KEYS, PROJECTS, USERS
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Change
from phimage.catalog.views import Catalog
from phimage.catalog_file.plan import apply_plan, plan
from phimage.installation import command_author, open_catalog, prepare
from phimage.model.account import Account, Key, PrivateKey, Project, User
from phimage.model.ids import AccountId, ImageId, ProjectId, PublicKey, RegionId, UserId, ZoneId
from phimage.model.image import Image, ImageType, State
from phimage.model.topology import Topology
from phimage.settings import Settings

CACHE = Path(__file__).parent / ".cache"
SEED = 20_261_125
VERSION = 1
"""Version of the generated data: increase it when the generator changes, so that cached catalogues are made anew."""

BASE_IMAGES = 300
PROJECT_IMAGES = 10
ACCOUNT_PROJECTS = 2
LARGE = 10_000
LARGE_FROM = 100_000
OPENED = 1_700_000_000
"""Creation time of every record, in Unix seconds."""
_BATCH = 10_000
"""Records per revision."""

Record = TypeVar("Record")
Add = Callable[[Change, Iterable[Record]], None]


class Tenant(Struct, frozen=True):
    """A project as a client sees it: its keys, and the zone of its images."""

    project: ProjectId
    public: str
    private: PrivateKey
    region: RegionId
    zone: ZoneId


def folder(images: int) -> Path:
    """The data folder of a catalogue with that many custom images. The first call makes it."""
    found = CACHE / f"catalogue-{images}-{VERSION}-{schema.newest()}"
    if not found.exists():
        draft = found.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        fill(Settings(data_dir=str(draft)), images)
        draft.rename(found)
    return found


def fill(settings: Settings, images: int) -> None:
    """Make an installation whose catalogue has that many custom images."""
    prepare(settings)
    catalog = open_catalog(settings)
    try:
        with catalog.change(command_author("ApplyCatalog")) as change:
            apply_plan(change, plan(change.connection, change.parent, catalog_file.starter(), prune=False))
        topology, starter = catalog.now(wait=True).topology(), catalog.now(wait=True).base_images()
        random = Random(SEED)
        _write(catalog, (_more_base(starter, BASE_IMAGES - len(starter)),), IMAGES.add_all)
        tenants = projects(images)
        accounts = range(-(-tenants // ACCOUNT_PROJECTS))
        _write(catalog, _batches(map(_account, accounts)), ACCOUNTS.add_all)
        _write(catalog, _batches(map(_user, accounts)), USERS.add_all)
        _write(catalog, _batches(_key(number, catalog) for number in accounts), KEYS.add_all)
        _write(catalog, _batches(map(_project, range(tenants))), PROJECTS.add_all)
        _write(catalog, _batches(custom_images(images, topology, random)), IMAGES.add_all)
    finally:
        catalog.database.close()


def projects(images: int) -> int:
    """The number of projects in a catalogue with that many custom images."""
    return images // PROJECT_IMAGES


def tenant(number: int, topology: Topology) -> Tenant:
    """A project by its number."""
    of = number // ACCOUNT_PROJECTS
    zone = _zone(number, topology)
    return Tenant(ProjectId(f"org-{number:08}"), _public(of), _private(of), topology.zones[zone].region, zone)


def custom_images(images: int, topology: Topology, random: Random) -> Iterator[Image]:
    """The custom images. The images of a project are in its zone and run on one or two machine types of that zone."""
    large = LARGE if images >= LARGE_FROM else 0
    for number in range(images):
        owner = 0 if number < large else number % projects(images)
        zone = _zone(owner, topology)
        yield _custom(number, ProjectId(f"org-{owner:08}"), zone, topology, random)


def _zone(number: int, topology: Topology) -> ZoneId:
    zones = [zone for zone in topology.zones if topology.offered.get(zone)]
    return zones[number % len(zones)]


def _custom(number: int, project: ProjectId, zone: ZoneId, topology: Topology, random: Random) -> Image:
    offered = topology.offered[zone]
    kinds = random.sample(sorted(offered), min(len(offered), 1 + number % 2))
    distribution, release = random.choice((("Ubuntu", "22.04"), ("CentOS", "7.9"), ("Debian", "12"), ("Rocky", "9.4")))
    return Image(
        id=ImageId(f"pimg-cs-{number:08}"),
        type=ImageType.CUSTOM,
        project=project,
        family="",
        name=f"{random.choice(('web', 'db', 'cache', 'build', 'gpu'))}-{random.randrange(10_000):04}",
        os_type=distribution,
        os_name=f"{distribution} {release} 64位",
        version=f"v1.{random.randrange(20)}",
        description=f"captured from host {random.randrange(1_000_000)}",
        state=State.AVAILABLE if random.random() < 0.95 else State.UNAVAILABLE,
        deprecated=False,
        size=random.choice((20, 40, 100, 480)),
        created=OPENED + random.randrange(50_000_000),
        zones=(zone,),
        support={kind: tuple(sorted(offered[kind])) for kind in kinds},
    )


def _more_base(starter: Sequence[Image], count: int) -> Iterator[Image]:
    """Older versions of the starter's images."""
    for number in range(count):
        image = starter[number % len(starter)]
        age = 1 + number // len(starter)
        yield replace(image, id=ImageId(f"{image.id}-{age}"), version=f"v0.{age}", created=image.created - 2_000_000 * age)


def _account(number: int) -> Account:
    return Account(AccountId(f"account-{number:08}"), False, "", f"{number}@example.com", (), (), OPENED)


def _user(number: int) -> User:
    return User(UserId(60_000_000 + number), AccountId(f"account-{number:08}"), "main", "", True, OPENED)


def _key(number: int, catalog: Catalog) -> Key:
    public = PublicKey(_public(number))
    encrypted = catalog.key_encryption.encrypt(public, _private(number))
    return Key(public, AccountId(f"account-{number:08}"), UserId(60_000_000 + number), encrypted, OPENED)


def _project(number: int) -> Project:
    of = AccountId(f"account-{number // ACCOUNT_PROJECTS:08}")
    return Project(ProjectId(f"org-{number:08}"), of, f"Project {number}", number % ACCOUNT_PROJECTS == 0, OPENED)


def _public(account: int) -> str:
    return f"phimage{account:032}"


def _private(account: int) -> PrivateKey:
    return PrivateKey(hashlib.sha256(f"{SEED} {account}".encode()).hexdigest()[:40])


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    left = iter(records)
    while batch := list(islice(left, _BATCH)):
        yield batch


def _write(catalog: Catalog, batches: Iterable[Iterable[Record]], add: Add[Record]) -> None:
    for batch in batches:
        with catalog.change(command_author("Bench")) as change:
            add(change, batch)
