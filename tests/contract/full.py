"""A catalogue with something of everything in it: values that databases keep differently, and a history."""

from __future__ import annotations

from phimage.catalog import jobs
from phimage.catalog.accounts import ACCOUNTS, KEYS, MEMBERSHIPS, PROJECTS, USERS, exchange_rates, put_key
from phimage.catalog.accounts import NewKey as KeyPair
from phimage.catalog.images import IMAGES
from phimage.catalog.places import CLUSTERS, MACHINE_TYPES, OFFERS, REGIONS, ZONES
from phimage.catalog.views import Catalog
from phimage.model.account import PrivateKey
from phimage.model.ids import ImageId, JobId, PublicKey
from phimage.model.job import Job, JobState, Origin
from phimage.model.topology import Gpu
from tests.examples import (
    account,
    author,
    cluster,
    image,
    machine_type,
    membership,
    offer,
    project,
    region,
    user,
    zone,
)


def fill(catalog: Catalog) -> None:
    """Three revisions: things come, change and go."""
    with catalog.change(author(time=1_700_000_000.123456)) as change:
        REGIONS.put(change, region(default=True))
        ZONES.put(change, zone())
        CLUSTERS.put(change, cluster("25G", default=True))
        MACHINE_TYPES.put(change, machine_type())
        MACHINE_TYPES.put(change, machine_type("GPU-1", gpu=Gpu("T4", 2, "16G", "8.1 TFLOPS")))
        OFFERS.put(change, offer())
        ACCOUNTS.put(change, account(zones=("cn-bj2-02",), networks=("10.0.0.0/8",)))
        USERS.put(change, user(main=True))
        USERS.put(change, user(50_000_002))
        PROJECTS.put(change, project(default=True))
        MEMBERSHIPS.put(change, membership(user=50_000_002))
        put_key(change, user(main=True), catalog.key_encryption, KeyPair(PublicKey("key-main"), PrivateKey("secret")))
        put_key(change, user(50_000_002), catalog.key_encryption, KeyPair(PublicKey("key-gone"), PrivateKey("other")))
        IMAGES.add_all(change, [image(f"pimg-{number:04}") for number in range(50)])
        IMAGES.put(change, image("pimg-mine", project="org-a"))
    with catalog.change(author(actor="艾/克 \\ \t\n'\"")) as change:
        IMAGES.change_all(change, [image(f"pimg-{number:04}", deprecated=True) for number in range(0, 50, 7)])
        IMAGES.put(change, image("pimg-mine"))  # from a project to everyone
        IMAGES.put(change, image("pimg-brief"))
        IMAGES.withdraw(change, image("pimg-brief"))  # leaves no row
        MEMBERSHIPS.withdraw(change, membership(user=50_000_002))
        found = KEYS.find(change.connection, "key-gone")
        assert found is not None
        KEYS.withdraw(change, found)
    with catalog.change(author()) as change:
        REGIONS.put(change, region(number=7))
        REGIONS.put(change, region(number=8))  # twice in one revision
    with catalog.database.write() as connection:
        jobs.add(connection, _job())
    exchange_rates(catalog.database, "process", {PublicKey("key-main"): 3}, 1_700_000_000.0)


def _job() -> Job:
    return Job(
        id=JobId("job-1"),
        image=ImageId("pimg-0001"),
        origin=Origin(url="https://images.example/disk.qcow2", digest="sha256:00", overrides=("a", "b")),
        state=JobState.RUNNING,
        phase="pack",
        done=1,
        total=2**40,
        error="",
        owner="worker",
        fence=3,
        lease_until=1_700_000_000.1,
        created=1_700_000_000.1 / 3,
    )
