"""Planting a seed: its catalogue, accounts, images and bytes in the database and the store of a world."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from phimage import demo_disk
from phimage.catalog import jobs
from phimage.catalog.accounts import ACCOUNTS, MEMBERSHIPS, PROJECTS, NewKey, add_user, find_key, put_key
from phimage.catalog.image_bytes import IMAGE_BYTES, QUOTAS, expect_image_bytes
from phimage.catalog.images import IMAGES, once_given
from phimage.catalog.places import topology_at
from phimage.catalog.revisions import Author, Change
from phimage.catalog.views import Catalog
from phimage.catalog_file.conversion import records_of
from phimage.catalog_file.errors import ErrorList
from phimage.catalog_file.plan import apply_plan, plan_of
from phimage.catalog_file.references import check_references
from phimage.chunks import uploads
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter
from phimage.ci.seed_file import SeedAccount, SeedFile, seed_errors
from phimage.ci.transition import Transition
from phimage.ci.values import BadControl
from phimage.model.account import Account, Membership, PrivateKey, Project, Role
from phimage.model.ids import (
    AccountId,
    ClusterId,
    ImageId,
    MachineTypeId,
    ProjectId,
    PublicKey,
    RandomBytes,
    ZoneId,
    new_job_id,
)
from phimage.model.image import NO_PROJECT, Image, ImageType, State
from phimage.model.image_bytes import ImageBytes, Quota, image_size
from phimage.model.job import Origin, new_job

ZEROS, TEXT = "zeros", "text"
ZEROS_BYTES = 8 << 20
SECTOR = 512

ReadDisk = Callable[[str], bytes]
"""The raw disk at a path that a seed names. Raises BadControl."""


def plant(
    catalog: Catalog, store: Store, seed: SeedFile, name: str, now: float, random: RandomBytes, read_disk: ReadDisk
) -> dict[ImageId, Transition]:
    """Write a seed over what is there, in one revision, and return the transitions of its images. Raises BadControl.

    An image that is Making has a job with its bytes, which waits for its transition; without one it stays Making.
    """
    disks = {ImageId(id): _disk(ImageId(id), what, read_disk) for id, what in seed.sections.bytes.items()}
    with catalog.change(Author("seed", "local", "", "Seed", now)) as change:
        planned = plan_of(change.connection, change.parent, seed.catalog, prune=False)
        if planned.errors:
            raise seed_errors(planned.errors, name)
        apply_plan(change, planned, random)
        for account in seed.sections.accounts:
            _add_account(change, catalog, account)
        images = _images(change, seed, name)
        IMAGES.add_all(change, images)
        hosts = _check_hosts(change, seed, name)
        named = (*disks, *(name for name in seed.transitions if name not in hosts))
        unknown = [id for id in named if IMAGES.find(change.connection, id) is None]
        if unknown:
            raise BadControl(f"{name}: there is no image {unknown[0]}", "name images of the seed or of the catalogue")
        for id, disk in disks.items():
            image = IMAGES.find(change.connection, id)
            if image is not None and image.state is not State.MAKING:
                _put_bytes(change, store, image, disk)
        for image in images:
            if image.state is State.MAKING:
                _add_job(change, store, image, disks.get(image.id) or text_disk(image.id), random)
    making = {image.id: Transition(stuck=True) for image in images if image.state is State.MAKING}
    return making | seed.transitions


def _check_hosts(change: Change, seed: SeedFile, name: str) -> set[str]:
    """The names of the hosts. Raises BadControl for what their registration would refuse later, when nobody waits for it."""
    topology, names = topology_at(change.connection, change.number), set[str]()
    for host in seed.sections.hosts:
        who = f"{name}: host {host.name}"
        zone, kind = ZoneId(host.zone), MachineTypeId(host.machine_type)
        if host.name in names:
            raise BadControl(f"{who} is there twice", "transitions and boots name hosts: choose another name")
        if ClusterId(host.cluster) not in topology.clusters_of(kind, (zone,)):
            what = f"{who}: {host.zone} does not offer {host.machine_type} on {host.cluster}"
            raise BadControl(what, "`phimage machine-type ls` lists what each zone offers")
        if host.project and PROJECTS.find(change.connection, ProjectId(host.project)) is None:
            raise BadControl(f"{who}: there is no project {host.project}", "expected one of the demonstration or of the seed")
        names.add(host.name)
    return names


def text_disk(id: ImageId) -> bytes:
    """A raw disk with a boot sector and lines that name its image, so that no two images have the same bytes."""
    lines = b"".join(b"%s line %06d\n" % (id.encode(), number) for number in range(50_000))
    boot = demo_disk.make_disk()[: 1 << 20]
    return boot + lines.ljust(demo_disk.SIZE - len(boot), b"\0")


def _disk(id: ImageId, what: str, read_disk: ReadDisk) -> bytes:
    if what == ZEROS:
        return bytes(ZEROS_BYTES)
    disk = text_disk(id) if what == TEXT else read_disk(what)
    return disk.ljust(-(-len(disk) // SECTOR) * SECTOR, b"\0")


def _add_account(change: Change, catalog: Catalog, doc: SeedAccount) -> None:
    created, id = int(change.author.time), AccountId(doc.id)
    for field, given in (("default", [one.default for one in doc.projects]), ("main", [one.main for one in doc.users])):
        if given.count(True) != 1:
            noun = "project" if field == "default" else "user"
            raise BadControl(f"account {id} has not exactly one {noun} with {field}: true", "write it at one of them")
    names = [user.name for user in doc.users]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadControl(f"account {id} has two users {twice[0]}", "choose another name")
    if ACCOUNTS.find(change.connection, id) is not None:
        raise BadControl(f"account {id} is there already", "choose another id, or reset the world first")
    try:
        for network in doc.networks:
            ipaddress.ip_network(network)
    except ValueError as error:
        raise BadControl(f"account {id}: networks: {error}", "expected networks such as 192.0.2.0/24") from None
    zones = tuple(ZoneId(zone) for zone in doc.zones)
    ACCOUNTS.put(change, Account(id, doc.operator, doc.company, doc.email, zones, doc.networks, created))
    for project in doc.projects:
        own = ProjectId(project.id)
        if PROJECTS.find(change.connection, own) is not None:
            raise BadControl(f"project {own} is there already", "choose another id")
        PROJECTS.put(change, Project(own, id, project.name or own, project.default, created))
        if project.quota >= 0:
            QUOTAS.put(change, Quota(own, project.quota))
    known = {project.id for project in doc.projects}
    for user_doc in doc.users:
        user = add_user(change, id, user_doc.name, user_doc.email or doc.email, main=user_doc.main)
        for role_project, role in user_doc.roles.items():
            if role_project not in known:
                raise BadControl(f"user {user.name} has a role in {role_project}", f"expected a project of account {id}")
            MEMBERSHIPS.put(change, Membership(ProjectId(role_project), user.id, id, Role(role)))
        for key in user_doc.keys:
            if find_key(change.connection, PublicKey(key.public)) is not None:
                raise BadControl(f"key {key.public} is there already", "choose another public key")
            put_key(change, user, catalog.key_encryption, NewKey(PublicKey(key.public), PrivateKey(key.private)))


def _images(change: Change, seed: SeedFile, name: str) -> list[Image]:
    document = seed.images.document
    assert document is not None
    errors = ErrorList()
    check_references(seed.images, document, topology_at(change.connection, change.number), errors)
    given = once_given(change.connection, [ImageId(doc.id) for doc in document.images])
    for at, (doc, project) in enumerate(zip(document.images, seed.projects, strict=True)):
        line, column = seed.images.position(("images", at))
        if PROJECTS.find(change.connection, project) is None:
            errors.add(line, column, ("images", at, "project"), f"there is no project {project}")
        if ImageId(doc.id) in given:
            errors.add(line, column, ("images", at, "id"), "this is or was the id of an image; choose another one")
        if doc.source:
            errors.add(
                line, column, ("images", at, "source"), "the image of a project has no source: name its bytes in `bytes`"
            )
    if found := errors.in_order():
        raise seed_errors(found, name)
    records = records_of(document)["image"]
    images = []
    for doc, project in zip(document.images, seed.projects, strict=True):
        image = records[doc.id]
        assert isinstance(image, Image)
        images.append(replace(image, type=ImageType.CUSTOM, project=project))
    return images


def _put_bytes(change: Change, store: Store, image: Image, disk: bytes) -> None:
    with DiskWriter(store, len(disk)) as writer:
        writer.write(disk)
        written = writer.finish({})
    size = image_size(len(disk))
    record = ImageBytes(
        image.id,
        image.project,
        source_digest=f"sha256:{written.manifest.sha256}",
        digest_origin="the seed",
        format="raw",
        target_state=image.state,
        manifest=written.digest,
        sha256=written.manifest.sha256,
        size=len(disk),
        published=int(change.author.time),
    )
    IMAGE_BYTES.put(change, record)
    if image.size < size:
        IMAGES.put(change, replace(image, size=size))


def _add_job(change: Change, store: Store, image: Image, disk: bytes, random: RandomBytes) -> None:
    """Add the job of an image that is being made, with its uploaded original."""
    digest = f"sha256:{hashlib.sha256(disk).hexdigest()}"
    job = new_job(
        id=new_job_id(random),
        image=image.id,
        origin=Origin(digest=digest, size=len(disk), name="seed.raw"),
        created=change.author.time,
        project=image.project or NO_PROJECT,
        actor="seed",
    )
    for number, start in enumerate(range(0, len(disk), uploads.PART)):
        raw = disk[start : start + uploads.PART]
        uploads.put_part(store, job.id, number, uploads.pack_part(raw, hashlib.sha256(raw).digest()))
    expect_image_bytes(change, job)
    jobs.queue(change.connection, job.id)


def disks_beside(file: Path) -> ReadDisk:
    """Reads the disks that a seed file names, relative to its folder."""

    def read(path: str) -> bytes:
        try:
            return (file.parent / path).read_bytes()
        except OSError as error:
            what = f"{file}: bytes {path!r} cannot be read: {error.strerror}"
            raise BadControl(what, "expected zeros, text or the path of a raw disk") from None

    return read


def no_disks(path: str) -> bytes:
    """Refuses files: a posted seed may come from anyone who reaches the port."""
    remedy = "expected zeros or text; files are for `phimage ci --seed FILE`"
    raise BadControl(f"bytes {path!r}: a posted seed names no file", remedy)
