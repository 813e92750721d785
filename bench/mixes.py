"""Request mixes: signed form bodies of `DescribePHostImage`, seeded, one mix for each goal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random
from urllib.parse import urlencode

from bench.catalogue import ACCOUNT_PROJECTS, LARGE, SEED, Tenant, projects, tenant
from phimage.gateway.signature import sign
from phimage.model.topology import Topology

HOT_QUERIES = 1_000
HOT_KEYS = 200
PAGE = 20


def one(tenant: Tenant) -> str:
    """The simplest request: the first page of a zone."""
    return _body(tenant)


def own_images(tenant: Tenant) -> str:
    """The custom images of a project."""
    return _body(tenant, ImageType="Custom", Limit=PAGE)


def hot(images: int, topology: Topology) -> list[str]:
    """1,000 different requests of at most 200 keys; the accounts are spread over the whole catalogue."""
    random = Random(SEED)
    accounts = random.sample(range(projects(images) // ACCOUNT_PROJECTS), min(HOT_KEYS, projects(images) // ACCOUNT_PROJECTS))
    bodies: dict[str, None] = {}
    while len(bodies) < HOT_QUERIES:
        account = accounts[len(bodies) % len(accounts)]
        bodies[_varied(account * ACCOUNT_PROJECTS + random.randrange(ACCOUNT_PROJECTS), topology, random)] = None
    return list(bodies)


def cold(images: int, topology: Topology) -> Iterator[str]:
    """Each request once, each for a new project; only the second half repeats accounts."""
    random = Random(SEED + 1)
    numbers = list(range(projects(images)))
    for number in chain.from_iterable(numbers[start::ACCOUNT_PROJECTS] for start in range(ACCOUNT_PROJECTS)):
        yield _varied(number, topology, random)


def pages(topology: Topology) -> tuple[list[str], list[str]]:
    """The first and the last pages of the large project: 100 of each, all different."""
    owner = tenant(0, topology)
    first = [_body(owner, ImageType="Custom", Offset=start, Limit=PAGE) for start in range(100)]
    last = [_body(owner, ImageType="Custom", Offset=LARGE - PAGE - start, Limit=PAGE) for start in range(100)]
    return first, last


def _varied(number: int, topology: Topology, random: Random) -> str:
    """A page of one of several kinds; most queries match at least a page of images."""
    owner = tenant(number, topology)
    kinds = sorted(topology.offered[owner.zone])
    kind = random.choice(kinds)
    clusters = sorted(topology.offered[owner.zone][kind])
    return _body(
        owner,
        **random.choice(
            (
                {},
                {"Offset": random.randrange(PAGE)},
                {"MachineType": kind},
                {"MachineType": kind, "Cluster": random.choice(clusters)},
                {"ImageType": "Base"},
                {"ImageType": "Custom"},
                {"ImageType": "Base", "MachineType": kind, "Offset": random.randrange(PAGE)},
                {"Limit": PAGE, "Offset": random.choice((0, PAGE, 2 * PAGE))},
            )
        ),
    )


def _body(tenant: Tenant, **params: str | int) -> str:
    named = {"Action": "DescribePHostImage", "PublicKey": tenant.public, "Region": tenant.region, "Zone": tenant.zone}
    signed = {**named, "ProjectId": tenant.project, **{name: str(value) for name, value in params.items()}}
    return urlencode({**signed, "Signature": sign(signed, tenant.private)})
