"""Seed files: catalogue files that also have accounts with keys, custom images in any state, bytes and transitions.

A file is read in three parts, so that catalogue and images have the types and the errors of catalogue files: the catalogue with
its base images, the images that name a project, and the rest, whose types are here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from phimage.catalog_file.decode import Decoder, TooManyValues, described
from phimage.catalog_file.document import Document, Id
from phimage.catalog_file.errors import ErrorList, FileError
from phimage.catalog_file.read import ParsedFile
from phimage.catalog_file.yaml_nodes import MAX_VALUES, Mapping, Node, Scalar, Sequence
from phimage.ci.transition import Transition, read_transition
from phimage.ci.values import BadControl
from phimage.model.ids import ImageId, ProjectId

SECTIONS = ("accounts", "hosts", "bytes", "transitions")
KeyText = Annotated[str, Meta(pattern=r"^[!-~]{1,255}$", description="1 to 255 visible ASCII characters")]


class SeedKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key pair of your choice."""

    public: Annotated[KeyText, Meta(description="the public key")]
    private: Annotated[KeyText, Meta(description="the private key")]


class SeedUser(Struct, frozen=True, forbid_unknown_fields=True):
    """A user of an account. `main` users see all projects, others those in which they have a role."""

    name: Annotated[Id, Meta(description="name of the user")]
    email: Annotated[str, Meta(max_length=255, description="address of the user")] = ""
    main: Annotated[bool, Meta(description="whether it is the main user; exactly one is")] = False
    keys: Annotated[tuple[SeedKey, ...], Meta(description="keys of the user")] = ()
    roles: Annotated[dict[str, Literal["viewer", "editor"]], Meta(description="roles by project")] = field(default_factory=dict)


class SeedProject(Struct, frozen=True, forbid_unknown_fields=True):
    """A project of an account."""

    id: Annotated[Id, Meta(description="id of the project, such as org-a")]
    name: Annotated[str, Meta(max_length=255, description="name of the project")] = ""
    default: Annotated[bool, Meta(description="whether it is the default project; exactly one is")] = False
    quota: Annotated[int, Meta(ge=-1, description="quota in bytes; -1 for none")] = -1


class SeedAccount(Struct, frozen=True, forbid_unknown_fields=True):
    """An account."""

    id: Annotated[Id, Meta(description="id of the account")]
    operator: Annotated[bool, Meta(description="whether it runs the cloud")] = False
    company: Annotated[str, Meta(max_length=255, description="name of the customer")] = ""
    email: Annotated[str, Meta(max_length=255, description="address of the account")] = ""
    zones: Annotated[tuple[str, ...], Meta(description="zones that it may use; empty for all")] = ()
    networks: Annotated[tuple[str, ...], Meta(description="networks from which its keys work; empty for all")] = ()
    projects: Annotated[tuple[SeedProject, ...], Meta(description="projects of the account")] = ()
    users: Annotated[tuple[SeedUser, ...], Meta(description="users of the account")] = ()


class SeedHost(Struct, frozen=True, forbid_unknown_fields=True):
    """A host with a scripted agent. One of a project is assigned to it, and its agent waits in the rescue system."""

    name: Annotated[Id, Meta(description="name of the host")]
    zone: Annotated[str, Meta(description="zone in which it stands")]
    machine_type: Annotated[str, Meta(description="its machine type, such as DB-2")]
    cluster: Annotated[str, Meta(description="cluster that it is connected to, such as 10G")]
    project: Annotated[str, Meta(description="project that it is assigned to; empty for a free host")] = ""
    disk_mib: Annotated[int, Meta(ge=8, le=4096, description="size of its system disk in MiB")] = 64


class SeedSections(Struct, frozen=True, forbid_unknown_fields=True):
    """The sections that only seeds have. `bytes` are `zeros`, `text` or the path of a raw disk, by image."""

    accounts: Annotated[tuple[SeedAccount, ...], Meta(description="accounts with their users, keys and projects")] = ()
    hosts: Annotated[tuple[SeedHost, ...], Meta(description="hosts with scripted agents")] = ()
    bytes: Annotated[dict[str, str], Meta(description="zeros, text or the path of a raw disk, by image")] = field(
        default_factory=dict
    )


class SeedFile(Struct, frozen=True):
    """A seed file. `catalog` is the part that is a catalogue file; `images` are those of `projects`, in the same order."""

    catalog: ParsedFile
    images: ParsedFile
    projects: tuple[ProjectId, ...]
    sections: SeedSections
    transitions: dict[ImageId, Transition]


def read_seed(text: str, name: str) -> SeedFile:
    """The seed of a text. Raises BadControl with the name, line, column and field of each error."""
    from phimage.catalog_file.yaml_reader import compose  # docs/decisions.md#modules-are-imported-at-first-use

    errors = ErrorList()
    root = compose(text, errors, MAX_VALUES)
    if not isinstance(root, Mapping):
        if root is not None:
            errors.add(root.line, root.column, (), f"expected names and values; found {described(root)}")
        raise seed_errors(errors.in_order(), name)
    _check_names(root, errors)
    base, custom = _split_images(root, errors)
    decoder = Decoder(errors, MAX_VALUES)
    try:
        catalog_root = _part(root, set(Document.__struct_fields__), base)
        catalog = decoder.record(Document, catalog_root, ())
        undecoded = frozenset(decoder.undecoded)
        custom_root = _part(root, {"phimage", "images"}, [node for node, _ in custom])
        images = decoder.record(Document, custom_root, ())
        sections = decoder.record(SeedSections, _part(root, {"accounts", "hosts", "bytes"}), ())
    except TooManyValues:
        errors.add(root.line, root.column, (), f"counted with its aliases, the file has more than {MAX_VALUES:,} values")
        raise seed_errors(errors.in_order(), name) from None
    transitions = _transitions(root.values.get("transitions"), errors)
    if found := errors.in_order():
        raise seed_errors(found, name)
    return SeedFile(
        ParsedFile(catalog, (), undecoded, catalog_root),
        ParsedFile(images, (), root=custom_root),
        tuple(ProjectId(project) for _, project in custom),
        sections,
        transitions,
    )


def seed_errors(errors: Iterable[FileError], name: str) -> BadControl:
    """The error of a seed with these errors, one a line."""
    lines = [
        f"{name}:{error.line}:{error.column}: {error.field}{': ' if error.field else ''}{error.message}" for error in errors
    ]
    return BadControl("the seed cannot be used", "\n".join(lines))


def _check_names(root: Mapping, errors: ErrorList) -> None:
    """Report sections that no seed has."""
    known = (*Document.__struct_fields__, *SECTIONS)
    for name, key in root.keys.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            expected = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            errors.add(key.line, key.column, (name,), f"unknown field; {expected}")


def _split_images(root: Mapping, errors: ErrorList) -> tuple[list[Node], list[tuple[Node, str]]]:
    """The base images, and those that name a project, without that name and with it."""
    images = root.values.get("images")
    if not isinstance(images, Sequence):
        return [], []
    base: list[Node] = []
    custom: list[tuple[Node, str]] = []
    for at, node in enumerate(images.items):
        project = node.values.get("project") if isinstance(node, Mapping) else None
        if project is None:
            base.append(node)
        elif isinstance(project, Scalar) and not project.null:
            assert isinstance(node, Mapping)
            custom.append((_part(node, set(node.values) - {"project"}), project.text))
        else:
            errors.add(project.line, project.column, ("images", at, "project"), f"expected an id; found {described(project)}")
    return base, custom


def _part(node: Node, names: Collection[str], images: Iterable[Node] | None = None) -> Mapping:
    """Some of the names and values of a node, with other images."""
    assert isinstance(node, Mapping)
    values = {name: value for name, value in node.values.items() if name in names}
    if images is not None and isinstance(given := values.get("images"), Sequence):
        values["images"] = Sequence(given.line, given.column, list(images))
    return Mapping(node.line, node.column, {name: node.keys[name] for name in values}, values)


def _transitions(node: Node | None, errors: ErrorList) -> dict[ImageId, Transition]:
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        errors.add(node.line, node.column, ("transitions",), f"expected transitions by image; found {described(node)}")
        return {}
    found = {}
    for id, value in node.values.items():
        try:
            found[ImageId(id)] = read_transition(_plain(value))
        except BadControl as error:
            errors.add(value.line, value.column, ("transitions", id), str(error))
    return found


def _plain(node: Node) -> object:
    """A transition as JSON has it. What is deeper in it is none, and is not read: aliases make it as large as they like."""
    if isinstance(node, Mapping):
        return {name: value.text if isinstance(value, Scalar) else described(value) for name, value in node.values.items()}
    return node.text if isinstance(node, Scalar) else described(node)
