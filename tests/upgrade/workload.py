"""The requests that are recorded: every Action that reads, refusals, past revisions, and the bytes of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from tests.api.signer import Encoding, Pair, Params, Request, encoded, signed
from tests.upgrade.installation import ZONE, Installation
from tests.upgrade.recording import RecordedRequest

INSIDE, OUTSIDE = "192.0.2.7", "198.51.100.7"
"""Client addresses inside and outside the fenced account's networks."""
FORMS = (".raw", ".raw.zst", ".qcow2", ".sha256", "/manifest")
ZONES = (("cn-bj2", "cn-bj2-02"), ("cn-bj2", "cn-bj2-03"), ("cn-bj2", "cn-bj2-05"), ("hk", "hk-02"))
MACHINE_TYPES = ("Base-SSD-V5", "DB-2", "GPU-T4", "Cloud-V6")
CLUSTERS = ("1G", "10G", "25G", "100G")

NewTicket = Callable[[Literal["download", "upload"], str, Pair], str]
"""Makes the query of a download or upload URL for an image or a job, with a ticket of a key."""


class History(Struct, frozen=True):
    """The newest revision, and the times of those that may be asked for."""

    newest: int
    times: dict[int, str]

    @property
    def some(self) -> list[int]:
        """A sample of the revisions, and the last one before the removals."""
        return [number for number in (*range(3, self.newest - 2, 10), self.newest - 2) if number in self.times]

    @property
    def late(self) -> list[int]:
        """The last revisions: those that publish, edit and remove images."""
        return [number for number in range(self.newest - 18, self.newest) if number in self.times]


class Workload:
    """Makes requests to an installation. They take turns in the four encodings of clients."""

    def __init__(self, made: Installation, history: History, ticket: NewTicket, waiting_job: str, export: str) -> None:
        self._made = made
        self._history = history
        self._ticket = ticket
        self._waiting_job = waiting_job
        self._export = export
        self._encodings = cycle(Encoding)

    def requests(self) -> list[RecordedRequest]:
        """All requests, numbered."""
        groups = (
            self._lists,
            self._images,
            self._places,
            self._callers,
            self._found,
            self._hosts,
            self._operators,
            self._refused,
            self._pins,
            self._bytes,
        )
        requests = (request for group in groups for request in group())
        return [replace(request, name=f"{number:03} {request.name}") for number, request in enumerate(requests)]

    def _action(
        self, action: str, params: Params | None = None, by: str = "acme", path: str = "/", client: str = INSIDE
    ) -> RecordedRequest:
        request = signed(action, params, next(self._encodings), self._made.keys[by], path)
        said = " ".join(f"{name}={value}" for name, value in (params or {}).items() if name != "Catalog")
        return _recorded(f"{by}: {path} {action} {said}".strip(), request, client)

    def _project(self, name: str) -> dict[str, str]:
        return {"ProjectId": self._made.projects[name]}

    def _lists(self) -> Iterator[RecordedRequest]:
        def call(by: str = "acme", **params: Any) -> RecordedRequest:
            return self._action("DescribePHostImage", params, by)

        for region, zone in ZONES:
            for by in ("operator", "acme", "rival"):
                yield call(by, Region=region, Zone=zone)
        for kind in ("Base", "Custom"):
            yield call(**ZONE, ImageType=kind)
            yield call(**ZONE, ImageType=kind, **self._project("lab"))
            yield call("editor", **ZONE, ImageType=kind, **self._project("lab"))
            yield call("rival", **ZONE, ImageType=kind)
        yield call("viewer", **ZONE, **self._project("acme"))
        yield call("fenced", **ZONE)
        for machine_type in MACHINE_TYPES:
            yield call(**ZONE, MachineType=machine_type)
            for cluster in CLUSTERS:
                yield call(**ZONE, MachineType=machine_type, Cluster=cluster)
        for cluster in CLUSTERS:
            yield call(**ZONE, Cluster=cluster)
        for offset in range(0, 14, 2):
            yield call(**ZONE, Offset=offset, Limit=2)
        yield call(**ZONE, Limit=0)
        yield call(**ZONE, Limit=1000)
        yield call(**ZONE, Limit=1001)
        yield call(**ZONE, Limit=-1)
        yield call(**ZONE, Offset="many")
        everything = [
            *self._made.images.values(),
            "pimg-cs-d11a",
            "pimg-cs-tie2",
            "pimg-cs-tie1",
            "pimg-cs-f38a",
            "pimg-no-such1",
        ]
        yield call(**ZONE, ImageId=everything)
        yield call("operator", **ZONE, ImageId=everything)
        yield call("editor", **ZONE, ImageId=everything, **self._project("lab"))
        yield call(**ZONE, ImageId=everything, ImageType="Custom", MachineType="DB-2")
        yield call(Region="cn-bj2")
        yield call(Zone="cn-bj2-02")
        yield call(Region="no-such", Zone="cn-bj2-02")
        yield call(Region="hk", Zone="cn-bj2-02")
        yield call(**ZONE, ImageType="Other")
        yield call(**ZONE, MachineType="No-Such")
        yield call(**ZONE, Cluster="1000G")

    def _images(self) -> Iterator[RecordedRequest]:
        images, lab = self._made.images, self._project("lab")
        ids = [
            *images.values(),
            "pimg-cs-u2204a",
            "pimg-cs-c79a",
            "pimg-cs-d11a",
            "pimg-cs-w2019",
            "pimg-cs-none",
            "pimg-cs-f38a",
        ]
        for image in ids:
            yield self._action("GetPHostImage", {"ImageId": image})
            yield self._action("GetPHostImage", {"ImageId": image}, "operator")
            yield self._action("ExplainPHostImage", {**ZONE, "ImageId": image, "MachineType": "Base-SSD-V5", "Cluster": "10G"})
        for image in (images["waiting"], images["terminated"]):
            yield self._action("GetPHostImage", {"ImageId": image, **lab}, "editor")
        for image in ids[:7]:
            yield self._action("ExplainPHostImage", {**ZONE, "ImageId": image}, "operator")
        for after in (0, *self._history.some, self._history.newest):
            yield self._action("ListPHostImageChanges", {"After": after})
        yield self._action("ListPHostImageChanges", {"After": 2, "Limit": 1})
        yield self._action("ListPHostImageChanges", lab, "editor")
        yield self._action("ListPHostImageChanges", {}, "rival")

    def _places(self) -> Iterator[RecordedRequest]:
        for by in ("acme", "rival", "fenced", "nobody"):
            for action in ("GetRegion", "ListRegions", "ListZones"):
                yield self._action(action, {}, by)
        for action in ("DescribePHostMachineType", "DescribeBaremetalMachineType"):
            for region, zone in ZONES:
                yield self._action(action, {"Region": region, "Zone": zone})
            yield self._action(action, {"Region": "cn-bj2", "APIVersion": "v2"})
            yield self._action(action, {"Region": "cn-bj2", "Type": "Cloud-V6"})
            yield self._action(action, ZONE, "fenced")
        yield self._action("DescribePHostMachineType", {"Type": "GPU-T4"})

    def _callers(self) -> Iterator[RecordedRequest]:
        for by in ("operator", "auditor", "acme", "viewer", "editor", "nobody", "rival", "fenced"):
            yield self._action("GetProjectList", {}, by)
            yield self._action("GetUserInfo", {}, by)

    def _found(self) -> Iterator[RecordedRequest]:
        """What phimage shows beside the list."""
        images = self._made.images
        for by in ("operator", "acme", "rival"):
            yield self._action("FindPHostImages", {}, by)
            yield self._action("GetTopology", {}, by)
            yield self._action("ListPHostImageMatrices", ZONE, by)
        yield self._action("FindPHostImages", {**ZONE, "Text": "debian", "HasBytes": True, "Deprecated": "include"})
        for image in (images["linux"], images["converted"], images["custom"]):
            yield self._action("GetPHostImageMatrix", {"Region": "cn-bj2", "ImageId": image})
            yield self._action("GetPHostImageProgress", {**ZONE, "ImageId": image})
        yield self._action("ListPHostImageJobs", {}, "operator")
        yield self._action("ListPHostImageJobs", self._project("lab"), "editor")

    def _hosts(self) -> Iterator[RecordedRequest]:
        for by in ("operator", "acme"):
            yield self._action("ListHosts", {}, by)
            yield self._action("DescribePHost", {"Region": "cn-bj2"}, by)

    def _operators(self) -> Iterator[RecordedRequest]:
        def call(action: str, by: str = "operator", **params: Any) -> RecordedRequest:
            return self._action(action, params, by)

        yield call("ListAccounts")
        yield call("ListAccounts", "auditor")
        yield call("ListQuotas")
        for account in ("operator", "acme", "rival", "fenced", "no-such"):
            for action in ("ListUsers", "ListProjects", "ListAccessKeys"):
                yield call(action, Account=account)
        yield call("ListRevisions", Limit=1000)
        yield call("ListRevisions", "auditor", After=0, Limit=5)
        yield call("ListRevisions", After=self._history.newest)
        yield call("ListRevisions", Before=20, Limit=7)
        yield call("ListRevisions", After=10, Before=13)
        for revision in (*self._history.some, *self._history.late):
            yield call("GetRevision", Revision=revision)
        yield call("GetRevisionStatistics", Days=1)
        yield call("GetStoreStatistics")
        for image in (*self._made.images.values(), "pimg-cs-none", "pimg-no-such1"):
            yield call("GetPHostImageJob", ImageId=image)
        yield call("GetPHostImageUploadUrl", ImageId=self._made.images["waiting"])
        yield call("GetPHostImageUploadUrl", ImageId=self._made.images["linux"])
        yield call("ExportCatalog")
        yield call("PlanCatalog", Catalog=self._export, Prune=False)

    def _refused(self) -> Iterator[RecordedRequest]:
        acme, lab, custom = self._made.keys["acme"], self._project("lab"), self._made.images["custom"]
        for by in ("revoked", "leaver"):
            yield self._action("DescribePHostImage", ZONE, by)
        for by, params in (
            ("viewer", {}),
            ("viewer", lab),
            ("nobody", lab),
            ("rival", lab),
            ("acme", self._project("empty")),
            ("acme", {"ProjectId": "org-no-such"}),
        ):
            yield self._action("DescribePHostImage", {**ZONE, **params}, by)
        yield self._action("DescribePHostImage", {"Region": "hk", "Zone": "hk-02"}, "fenced")
        yield self._action("DescribePHostImage", ZONE, "fenced", client=OUTSIDE)
        yield self._action("DescribePHostImage", ZONE, "fenced", client="2001:db8::7")
        yield self._action("TerminatePHostImage", {**ZONE, **self._project("acme"), "ImageId": custom}, "viewer")
        yield self._action("TerminatePHostImage", {**ZONE, "ImageId": "pimg-cs-c79a"})
        yield self._action("TerminatePHostImage", {**ZONE, "ImageId": custom}, path=f"/rev/{self._history.late[0]}/")
        yield self._action("ListAccounts", {})
        yield self._action("ApplyCatalog", {"Catalog": "phimage: 1\n"})
        yield self._action("DescribeNothing", {})
        yield self._action("DescribePHostImage", {**ZONE, "SecurityToken": "x"})
        wrong = {"Action": "GetRegion", "PublicKey": acme.public, "Signature": "0" * 40}
        for name, params in (
            ("a wrong signature", wrong),
            ("no signature", {"Action": "GetRegion", "PublicKey": acme.public}),
            ("an unknown key", {**wrong, "PublicKey": "no-such-key"}),
        ):
            yield _recorded(name, encoded(params), INSIDE)

    def _pins(self) -> Iterator[RecordedRequest]:
        newest = self._history.newest
        for revision in (0, 2, *self._history.some, *self._history.late):
            yield self._action("DescribePHostImage", {**ZONE, "Limit": 100}, path=f"/rev/{revision}/")
        for revision in self._history.late:
            for name in ("linux", "failed"):
                yield self._action("GetPHostImage", {"ImageId": self._made.images[name]}, "operator", f"/rev/{revision}/")
        for revision in self._history.some:
            path = f"/rev/{revision}/"
            yield self._action("DescribePHostImage", {**ZONE, **self._project("lab")}, "editor", path)
            yield self._action("DescribePHostImage", {"Region": "cn-bj2", "Zone": "cn-bj2-05"}, "acme", f"{path}limit/3")
            yield self._action("GetPHostImage", {"ImageId": "pimg-cs-u2204a"}, "operator", path)
            yield self._action("ExplainPHostImage", {**ZONE, "ImageId": "pimg-cs-f38a"}, "acme", path)
            yield self._action("ExportCatalog", {}, "operator", path)
            yield self._action("ListPHostImageChanges", {}, "acme", path)
            yield self._action("ListRevisions", {"Limit": 3}, "operator", path)
            for action in ("GetRegion", "ListZones", "DescribePHostMachineType"):
                yield self._action(action, {}, "acme", path)
        for time in (*list(self._history.times.values())[::10], "2020-01-01T00:00:00Z", "2020-01-01T00:00:00"):
            yield self._action("DescribePHostImage", ZONE, path=f"/at/{time}/")
        for path in ("/limit/3/", f"/cloud/limit/2/rev/{self._history.late[0]}", f"/rev/{newest + 1}/", "/rev/x/"):
            yield self._action("DescribePHostImage", ZONE, path=path)

    def _bytes(self) -> Iterator[RecordedRequest]:
        images = self._made.images
        for name in ("linux", "converted", "custom"):
            yield self._action("GetPHostImageDownloadUrl", {"ImageId": images[name], "Seconds": 60})
            yield self._download(images[name], ".raw")
        linux = images["linux"]
        for form in FORMS[1:]:
            yield self._download(linux, form)
        yield self._download(linux, ".raw", method="HEAD")
        for form in (".raw", ".raw.zst", ".qcow2"):
            yield self._download(linux, form, headers=(("Range", "bytes=1000-200000"),))
            yield self._with_ticket("/images/", linux, form, "download", self._made.keys["viewer"])
        for image in (images["failed"], images["withdrawn"], "pimg-cs-none", "pimg-no-such1"):
            yield self._action("GetPHostImageDownloadUrl", {"ImageId": image})
            yield self._download(image, ".raw")
        yield self._download(images["custom"], ".raw", by="rival")
        yield self._download(linux, ".raw", by="revoked")
        yield self._with_ticket("/images/", linux, ".raw", "download", self._made.keys["revoked"])
        yield self._with_ticket("/uploads/", self._waiting_job, "", "upload", self._made.keys["operator"])

    def _download(
        self, image: str, form: str, by: str = "acme", method: str = "GET", headers: tuple[tuple[str, str], ...] = ()
    ) -> RecordedRequest:
        query = signed("DownloadPHostImage", {"ImageId": image}, Encoding.QUERY, self._made.keys[by]).query
        request = Request(method, f"/images/{image}{form}", query, headers)
        return _recorded(f"{by}: {method} {request.path}", request, INSIDE)

    def _with_ticket(
        self, root: str, subject: str, form: str, purpose: Literal["download", "upload"], key: Pair
    ) -> RecordedRequest:
        request = Request("GET", f"{root}{subject}{form}", self._ticket(purpose, subject, key))
        return _recorded(f"ticket of {key.public}: {request.path}", request, INSIDE)


def _recorded(name: str, request: Request, client: str) -> RecordedRequest:
    return RecordedRequest(name, request.method, request.path, request.query, request.headers, request.body.decode(), client)
