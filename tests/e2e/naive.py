"""What the demonstration must list, worked out a second time from its files alone, with nothing of phimage's own rules."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import yaml

STARTER: dict[str, Any] = yaml.safe_load((files("phimage.catalog_file") / "starter.yaml").read_text("utf-8"))

_SUPPORT = {"Base-SSD-V5": ["10G", "25G"], "DB-2": ["10G"]}


def _custom(id: str, project: str, name: str, os: str, os_name: str, age: int, state: str) -> dict[str, Any]:
    return {
        "id": id,
        "project": project,
        "name": name,
        "os_type": os,
        "os_name": f"{os_name} 64位",
        "version": "v1.0",
        "description": "custom image of the demonstration",
        "state": state,
        "size": 40,
        "created": -age,  # only for the order: it is counted from the first start
        "zones": ["cn-bj2-02"],
        "support": _SUPPORT,
    }


CUSTOM = [
    _custom("pimg-os-ci6h3wzn", "org-default", "build-runner", "Debian", "Debian 12", 300, "Making"),
    _custom("pimg-os-db4x9tqe", "org-default", "mysql-primary", "CentOS", "CentOS 7.9", 7_200, "Available"),
    _custom("pimg-os-web7k2ma", "org-default", "web-frontend", "Ubuntu", "Ubuntu 22.04", 86_400, "Available"),
    _custom("pimg-os-lab2v8pd", "org-xyz", "kernel-lab", "Ubuntu", "Ubuntu 24.04", 3_600, "Available"),
    _custom("pimg-os-old5r7uc", "org-xyz", "kernel-lab-old", "Ubuntu", "Ubuntu 20.04", 9_000, "Unavailable"),
]
"""The demonstration's custom images."""


def listed(
    project: str = "org-default",
    zone: str = "cn-bj2-02",
    kind: str | None = None,
    ids: Iterable[str] = (),
    machine_type: str | None = None,
    cluster: str | None = None,
) -> list[dict[str, Any]]:
    """All that a list must hold, in order, as the SDK decodes it; a custom image's CreateTime is left out."""
    base = [image for image in STARTER["images"] if kind != "Custom"]
    custom = [image for image in CUSTOM if kind != "Base" and image["project"] == project]
    wanted = set(ids)
    found = [
        image
        for image in base + custom
        if zone in image["zones"]
        and (image["id"] in wanted if wanted else not image.get("deprecated", False))
        and _runs(image, zone, machine_type, cluster)
    ]
    found.sort(key=lambda image: ("project" in image, -_created(image), image["id"]))
    return [_row(image, zone) for image in found]


def comparable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what nobody can know beforehand."""
    return {name: value for name, value in row.items() if name != "CreateTime" or row["ImageType"] == "Base"}


def offered(zone: str) -> dict[str, set[str]]:
    """The machine types of a zone, with their clusters."""
    return {kind["id"]: set(kind["offers"][zone]) for kind in STARTER["machine_types"] if zone in kind["offers"]}


def _runs(image: Mapping[str, Any], zone: str, machine_type: str | None, cluster: str | None) -> bool:
    here = offered(zone)
    if machine_type is None:
        return cluster is None or any(
            cluster in clusters and cluster in here.get(kind, ()) for kind, clusters in image["support"].items()
        )
    if cluster is not None:
        meant = here[machine_type] & {cluster}
    else:
        meant = {"25G"} if "25G" in here[machine_type] else here[machine_type]
    return bool(meant & set(image["support"].get(machine_type, ())))


def _row(image: Mapping[str, Any], zone: str) -> dict[str, Any]:
    here = offered(zone)
    row = {
        "ImageId": image["id"],
        "ImageName": image["name"],
        "OsName": image["os_name"],
        "OsType": image["os_type"],
        "Support": sorted(kind for kind, clusters in image["support"].items() if here.get(kind, set()) & set(clusters)),
        "Version": image.get("version", ""),
        "ImageType": "Custom" if "project" in image else "Base",
        "State": image.get("state", "Available"),
        "ImageSize": image["size"],
        "ImageDescription": image.get("description", ""),
    }
    return row if "project" in image else {**row, "CreateTime": _created(image)}


def _created(image: Mapping[str, Any]) -> int:
    created = image["created"]
    return created if isinstance(created, int) else calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ"))
