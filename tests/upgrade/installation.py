"""Builds an installation through signed Actions and a publisher, with a row of everything and more than 20 revisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.api.publishing import Shop, sha256_of
from tests.api.signer import Pair
from tests.publishing.shop import as_qcow2
from tests.upgrade.disks import cut_disk, linux_disk, plain_disk

CATALOGS = Path(__file__).parent / "catalogs"
ZONE = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}

_ABOUT: dict[str, Any] = {
    "ImageType": "Base",
    "OsType": "Debian",
    "OsName": "Debian 12 64bit",
    "Zone": ["cn-bj2-02"],
    "Support": ["DB-2"],
}

_EDITS = (
    ("description: was a qcow2", "description: was a qcow2, 现在是原始盘\n    deprecated: true"),
    ("name: Runs nowhere", "name: Runs nowhere yet"),
)


class Installation(Struct, frozen=True):
    """The names in an installation: keys by caller, images by purpose, projects by short name.

    `awaited` has the revisions at which the first bytes of a base image were not whole. Whether tenants see such an image in
    lists is not the same in every release, so nothing asks for these revisions.
    """

    keys: dict[str, Pair]
    images: dict[str, str]
    projects: dict[str, str]
    awaited: set[int]


class Builder:
    """Builds the contents of a prepared installation. Original image files go into `folder`."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self._shop = shop
        self._folder = folder
        self._made = Installation({"operator": shop.operator}, {}, {}, set())

    def build(self) -> Installation:
        """Build all of it."""
        self._apply("first", prune=False)
        self._accounts()
        self._sub_users()
        self._quotas()
        self._apply("second", prune=True)
        self._publish()
        self._host()
        self._edit_published()
        self._remove()
        return self._made

    def _call(self, action: str, params: dict[str, Any], caller: str = "operator") -> dict[str, Any]:
        return self._shop.well(action, params, self._made.keys[caller])

    def _apply(self, name: str, *, prune: bool) -> None:
        text = (CATALOGS / f"{name}.yaml").read_text("utf-8")
        self._call("ApplyCatalog", {"Catalog": text, **({"Prune": True, "Withdraw": 1} if prune else {})})

    def _accounts(self) -> None:
        acme = {"Account": "acme", "Company": "Acme 有限公司", "Email": "main@acme.example"}
        fenced = {"Account": "fenced", "ZoneLimit": ["cn-bj2-02"], "NetworkLimit": ["192.0.2.0/24", "2001:db8::/32"]}
        for account in (acme, {"Account": "rival"}, fenced):
            name = account["Account"]
            found = self._call("CreateAccount", {"ZoneLimit": ["any"], "NetworkLimit": ["any"], **account})
            self._made.keys[str(name)] = Pair(found["PublicKey"], found["PrivateKey"])
            self._made.projects[str(name)] = found["ProjectId"]
        self._call("ModifyAccount", {"Account": "rival", "Company": "Rival", "ZoneLimit": ["cn-bj2-02", "cn-bj2-05"]})
        for name in ("lab", "empty"):
            project = {"Account": "acme", "ProjectName": f"the {name}"}
            self._made.projects[name] = self._call("CreateProject", project)["ProjectId"]
        self._call("RemoveProject", {"Account": "acme", "ProjectId": self._made.projects["empty"]})

    def _sub_users(self) -> None:
        for account, name in (
            ("acme", "viewer"),
            ("acme", "editor"),
            ("acme", "nobody"),
            ("acme", "leaver"),
            ("operator", "auditor"),
        ):
            self._call("CreateUser", {"Account": account, "User": name, "Email": f"{name}@{account}.example"})
            self._key(name, account, name)
        self._member("acme", "viewer", "viewer")
        self._member("lab", "editor", "viewer")
        self._member("lab", "editor", "editor")
        self._member("acme", "nobody", "editor")
        self._call("RemoveProjectMember", {"Account": "acme", "ProjectId": self._made.projects["acme"], "User": "nobody"})
        self._member("lab", "leaver", "editor")
        self._call("RemoveUser", {"Account": "acme", "User": "leaver"})
        self._key("revoked", "acme", "main")
        self._call("RevokeAccessKey", {"AccessKey": self._made.keys["revoked"].public})

    def _member(self, project: str, user: str, role: str) -> None:
        member = {"Account": "acme", "ProjectId": self._made.projects[project], "User": user, "Role": role}
        self._call("SetProjectMember", member)

    def _key(self, name: str, account: str, user: str) -> None:
        found = self._call("CreateAccessKey", {"Account": account, "User": user, "ExpireTime": 0})
        self._made.keys[name] = Pair(found["PublicKey"], found["PrivateKey"])

    def _quotas(self) -> None:
        self._call("SetQuota", {"Project": "Base", "Limit": 1 << 40})
        self._call("SetQuota", {"Project": self._made.projects["lab"], "Limit": 50 << 20})
        self._call("SetQuota", {"Project": self._made.projects["rival"], "Limit": 0})
        self._call("SetQuota", {"Project": self._made.projects["rival"], "Limit": -1})

    def _publish(self) -> None:
        """Three images with bytes, a failed publication, an upload and a fetch in progress, and two images for `_remove`."""
        shop, images, projects = self._shop, self._made.images, self._made.projects
        acme = {"ImageType": "Custom", "ProjectId": projects["acme"]}
        lab = {"ImageType": "Custom", "ProjectId": projects["lab"]}
        linux, qcow2 = linux_disk(self._folder), as_qcow2(plain_disk(self._folder, seed=1))
        images["linux"] = self._published(
            linux, **_ABOUT, Name="Debian 12 整盘", Family="debian-12", Version="12.7", FileName="debian-12.raw", Token="once"
        )
        images["converted"] = self._published(
            qcow2, **{**_ABOUT, "Support": ["DB-2:1G", "Base-SSD-V5"]}, Name="Converted", Description="was a qcow2"
        )
        images["custom"] = shop.publish(
            cut_disk(self._folder), **{**_ABOUT, **acme}, Name="web-frontend", TrustFirstUse=True, Override=["disk.truncated"]
        )
        wrong = {**_ABOUT, **acme, "Name": "broken", "Digest": "sha256:" + "0" * 64}
        images["failed"] = shop.begin(plain_disk(self._folder, seed=2), **wrong)
        assert shop.work(images["failed"])["State"] == "Failed"
        waiting = {**_ABOUT, **lab, "Name": "waiting", "TrustFirstUse": True, "Size": 8 << 20}
        begun = self._call("PublishPHostImage", waiting)
        shop.send(begun["UploadUrl"], plain_disk(self._folder, seed=4).read_bytes())
        images["waiting"] = begun["ImageId"]
        digest = f"sha256:{sha256_of(linux)}"
        for name in ("terminated", "withdrawn"):
            images[name] = self._call("PublishPHostImage", {**_ABOUT, **lab, "Name": name, "Digest": digest})["ImageId"]
        queued = {**_ABOUT, **lab, "Name": "queued", "Digest": digest, "Url": "https://images.example/d.qcow2"}
        images["queued"] = self._call("PublishPHostImage", queued)["ImageId"]

    def _published(self, file: Path, **about: Any) -> str:
        """A base image with bytes."""
        image = self._shop.begin(file, **about)
        begun = self._shop.catalog.refresh()
        assert self._shop.work(image)["State"] == "Done"
        self._made.awaited.update(range(begun, self._shop.catalog.refresh()))
        return image

    def _host(self) -> None:
        """A host whose agent has not enrolled."""
        machine = {"Zone": ZONE["Zone"], "MachineType": "DB-2", "Cluster": "10G"}
        self._call("RegisterHost", {**machine, "SerialNumber": "sn-1", "Mac": ["02:00:00:00:00:01"], "Disk": "size:400G-500G"})

    def _edit_published(self) -> None:
        """Edit the exported catalogue: deprecate an image with bytes, and rename one that runs nowhere."""
        text = self._call("ExportCatalog", {})["Catalog"]
        for old, new in _EDITS:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self._call("ApplyCatalog", {"Catalog": text, "Prune": False})

    def _remove(self) -> None:
        gone = {"ProjectId": self._made.projects["lab"], **ZONE, "ImageId": self._made.images["terminated"]}
        self._call("TerminatePHostImage", gone, "editor")
        self._call("WithdrawPHostImage", {"ImageId": self._made.images["withdrawn"]})
