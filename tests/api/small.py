"""A catalogue and accounts small enough to know by heart, for tests of what a list answers.

Zones north-a and north-b belong to the region north, south-a to south. Machine types, where and on which clusters:

    Both  north-a 10G 25G; north-b 10G       Slow  north-a 1G 10G      Far  south-a 25G

Base images, newest first, run on:

    b-new   Both 10G 25G, Slow 10G    b-25g  Both 25G    b-10g  Both 10G    b-tie1, b-tie2  Both 10G 25G, of the same second
    b-slow  Slow 1G                   b-none nothing     b-far  Far 25G, in south-a alone
    b-old   Both 10G 25G, deprecated

All but b-far are in both northern zones, except b-slow, which is in north-a alone.
"""

from __future__ import annotations

from msgspec.structs import replace

from phimage.catalog.accounts import ACCOUNTS, MEMBERSHIPS, PROJECTS, NewKey, add_user, put_key
from phimage.catalog.images import IMAGES
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.places import CLUSTERS, MACHINE_TYPES, OFFERS, REGIONS, ZONES
from phimage.catalog.revisions import Change
from phimage.installation import command_author, open_catalog, prepare
from phimage.model.account import PrivateKey, Role, User
from phimage.model.ids import MachineTypeId, PublicKey
from phimage.model.image import Image, State
from phimage.settings import Settings
from tests import examples
from tests.api.signer import Pair

ACME = Pair("key-acme", "secret-acme")
"""The main user of an account with the projects org-a, its default, and org-b."""
VIEWER = Pair("key-viewer", "secret-viewer")
"""A sub-user of acme who may list in org-a."""
WORKER = Pair("key-worker", "secret-worker")
"""A sub-user of acme who may change images in org-b."""
RIVAL = Pair("key-rival", "secret-rival")
"""The main user of another account, with the project org-r."""
FENCED = Pair("key-fenced", "secret-fenced")
"""The main user of an account that may use the zone north-a, from 192.0.2.0/24 and 2001:db8::/32."""
FENCED_VIEWER = Pair("key-fenced-viewer", "secret-fenced-viewer")
"""A sub-user of that account without any project."""
OPERATOR = Pair("key-operator", "secret-operator")
"""A user of the operator account."""

INSIDE, OUTSIDE = "192.0.2.7", "198.51.100.7"
"""An address that the fenced account may be used from, and one that it may not."""

BASE_OF_NORTH_A = ["b-new", "b-25g", "b-10g", "b-tie1", "b-tie2", "b-slow", "b-none"]
"""What a list of base images in north-a has, in its order."""

_BOTH = {"Both": ("10G", "25G")}


def fill(settings: Settings) -> None:
    """Put the catalogue and the accounts into a new data folder."""
    prepare(settings)
    catalog = open_catalog(settings)
    try:
        with catalog.change(command_author("ApplyCatalog")) as change:
            _put_places(change)
            IMAGES.add_all(change, [*_base(), *_custom()])
        with catalog.change(command_author("Accounts")) as change:
            _put_accounts(change, catalog.key_encryption)
    finally:
        catalog.database.close()


def _put_places(change: Change) -> None:
    REGIONS.add_all(change, [examples.region("north", 1_000_001, default=True), examples.region("south", 1_000_002)])
    ZONES.add_all(change, [examples.zone(id, of) for id, of in _ZONES])
    CLUSTERS.add_all(change, [examples.cluster(id, default=id == "25G") for id in ("1G", "10G", "25G")])
    far = replace(examples.machine_type("Far"), disk_class="CloudDisk")
    MACHINE_TYPES.add_all(change, [examples.machine_type("Both"), examples.machine_type("Slow"), far])
    OFFERS.add_all(change, [examples.offer(*offer) for offer in _OFFERS])


_ZONES = (("north-a", "north"), ("north-b", "north"), ("south-a", "south"))
_OFFERS = (
    ("Both", "north-a", "10G", 2),
    ("Both", "north-a", "25G", 0),
    ("Both", "north-b", "10G", 1),
    ("Slow", "north-a", "1G", 1),
    ("Slow", "north-a", "10G", 0),
    ("Far", "south-a", "25G", 4),
)


def _base() -> list[Image]:
    north = ("north-a", "north-b")
    deprecated = examples.image("b-old", zones=north, support=_BOTH, created=900, deprecated=True)
    unavailable = examples.image("b-10g", zones=north, support={"Both": ("10G",)}, created=700, state=State.UNAVAILABLE)
    return [
        examples.image("b-none", zones=north, support={}, created=400),
        examples.image("b-slow", zones=("north-a",), support={"Slow": ("1G",)}, created=500),
        examples.image("b-tie2", zones=north, support=_BOTH, created=600),
        examples.image("b-tie1", zones=north, support=_BOTH, created=600),
        unavailable,
        examples.image("b-25g", zones=north, support={"Both": ("25G",)}, created=800),
        deprecated,
        examples.image("b-new", zones=north, support=_BOTH | {"Slow": ("10G",)}, created=1000),
        examples.image("b-far", zones=("south-a",), support={"Far": ("25G",)}, created=2000),
    ]


def _custom() -> list[Image]:
    return [
        examples.image("c-a-old", project="org-a", zones=("north-a",), support=_BOTH, created=3000),
        examples.image("c-a-new", project="org-a", zones=("north-a",), support=_BOTH, created=4000, state=State.MAKING),
        examples.image("c-b", project="org-b", zones=("north-a",), support=_BOTH, created=5000),
        examples.image("c-r", project="org-r", zones=("north-a",), support=_BOTH, created=6000),
        examples.image("c-f", project="org-f", zones=("north-b",), support={MachineTypeId("Both"): ("10G",)}, created=7000),
    ]


def _put_accounts(change: Change, key_encryption: KeyEncryption) -> None:
    for id, zones, networks in (
        ("acme", (), ()),
        ("rival", (), ()),
        ("fenced", ("north-a",), ("192.0.2.0/24", "2001:db8::/32")),
    ):
        ACCOUNTS.put(change, examples.account(id, zones=zones, networks=networks))
    for project, of, default in (
        ("org-a", "acme", True),
        ("org-b", "acme", False),
        ("org-r", "rival", True),
        ("org-f", "fenced", True),
    ):
        PROJECTS.put(change, examples.project(project, of, default=default))
    viewer, worker = _user(change, key_encryption, "acme", VIEWER), _user(change, key_encryption, "acme", WORKER)
    MEMBERSHIPS.put(change, examples.membership("org-a", viewer.id, "acme", Role.VIEWER))
    MEMBERSHIPS.put(change, examples.membership("org-b", worker.id, "acme", Role.EDITOR))
    _user(change, key_encryption, "fenced", FENCED_VIEWER)
    _user(change, key_encryption, "operator", OPERATOR)
    for of, pair in (("acme", ACME), ("rival", RIVAL), ("fenced", FENCED)):
        _user(change, key_encryption, of, pair, main=True)


def _user(change: Change, key_encryption: KeyEncryption, account: str, pair: Pair, *, main: bool = False) -> User:
    user = add_user(change, examples.account(account).id, pair.public, f"{pair.public}@{account}.example", main=main)
    put_key(change, user, key_encryption, NewKey(PublicKey(pair.public), PrivateKey(pair.private)))
    return user
