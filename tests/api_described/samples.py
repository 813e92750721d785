"""A good request for every Action: with the operator's key each is answered RetCode 0."""

from __future__ import annotations

import tempfile
from pathlib import Path

from phimage import catalog_file
from phimage.client import Client, ParamValue
from phimage.sources.source import open_source
from phimage.upload_client import upload
from tests.api_described.racked import Racked
from tests.e2e.process import wait_until
from tests.publishing.shop import disk, sha256_of

PLACE = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}
ABOUT: dict[str, ParamValue] = {
    "ImageType": "Base",
    "Name": "Sample",
    "OsType": "Debian",
    "OsName": "Debian 12 64bit",
    "Zone": ["cn-bj2-02"],
    "Support": ["DB-2"],
}
"""What a publication says of its image."""
_WITHDRAWN = """
  - id: pimg-cs-sample
    name: Sample
    os_type: Debian
    os_name: Debian 12 64bit
    size: 1
    created: "2026-11-01T00:00:00Z"
"""
PUBLISH_SECONDS = 60

Params = dict[str, ParamValue]


def samples(operator: Client, hosts: Racked | None = None) -> dict[str, Params]:
    """The parameters by Action. What they name is made here, so that each Action can be called once.

    `hosts` are those whose agents sign the Actions of agents.
    """
    opened = operator.call("CreateAccount", Account="sample", ZoneLimit=["any"], NetworkLimit=["any"]).fields
    account: Params = {"Account": "sample"}
    project = opened["ProjectId"]
    closing = operator.call("CreateProject", Account="sample", ProjectName="Closing").fields["ProjectId"]
    for user in ("member", "other", "leaving"):
        operator.call("CreateUser", Account="sample", User=user)
    operator.call("SetProjectMember", Account="sample", ProjectId=project, User="member", Role="viewer")
    image = operator.call("DescribePHostImage", **PLACE, Limit=1).fields["ImageSet"][0]["ImageId"]
    catalog: Params = {"Catalog": catalog_file.starter()}
    operator.call("ApplyCatalog", Catalog=f"{catalog_file.starter()}{_WITHDRAWN}")
    operator.call("WithdrawPHostImage", ImageId="pimg-cs-sample")
    with tempfile.TemporaryDirectory() as folder:
        original = disk(Path(folder))
        published, sent = _sent(operator, original), _sent(operator, original)
        size = original.stat().st_size
    operator.call("CompletePHostImageUpload", ImageId=published, Size=size)
    wait_until(lambda: _job(operator, published) == "Done", PUBLISH_SECONDS)
    found = hosts or Racked(operator)
    return {
        **found.samples(published, project_of(operator)),
        "DescribePHostImage": {**PLACE, "ImageType": "Base", "ImageId": [image]},
        "GetPHostImage": {"ImageId": published},
        "ExplainPHostImage": {**PLACE, "ImageId": image},
        "FindPHostImages": {"Text": "centos", "Deprecated": "include", "Sort": "-created", "Limit": 2},
        "GetPHostImageMatrix": {**PLACE, "ImageId": image},
        "ListPHostImageMatrices": {**PLACE, "Limit": 3},
        "ListPHostImageChanges": {"After": 0},
        "GetPHostImageDownloadUrl": {"ImageId": published, "Seconds": 60},
        "PublishPHostImage": {**ABOUT, "TrustFirstUse": True},
        "GetPHostImageUploadUrl": {"ImageId": waiting(operator)},
        "CompletePHostImageUpload": {"ImageId": sent, "Size": size},
        "GetPHostImageJob": {"ImageId": published},
        "ListPHostImageJobs": {"State": "Unfinished"},
        "CancelPHostImageJob": {"JobId": waiting_job(operator)},
        "GetPHostImageProgress": {**PLACE, "ImageId": published},
        "ModifyPHostImageInfo": {**PLACE, "ImageId": waiting(operator, project_of(operator)), "Name": "Sample"},
        "UpdatePHostImage": {"ImageId": published, "Label": ["sample=yes"]},
        "WithdrawPHostImage": {"ImageId": waiting(operator)},
        "RestorePHostImage": {"ImageId": "pimg-cs-sample"},
        "TerminatePHostImage": {**PLACE, "ImageId": waiting(operator, project_of(operator))},
        "SetQuota": {"Project": project, "Limit": 1 << 40},
        "ListQuotas": {},
        "DescribePHostMachineType": {**PLACE},
        "DescribeBaremetalMachineType": {**PLACE},
        "GetRegion": {},
        "GetTopology": {**PLACE},
        "ListRegions": {},
        "ListZones": {},
        "GetProjectList": {},
        "GetUserInfo": {},
        "PlanCatalog": catalog,
        "ApplyCatalog": catalog,
        "ExportCatalog": {},
        "ListRevisions": {"After": 0},
        "GetRevision": {"Revision": 1},
        "GetRevisionStatistics": {"Days": 7},
        "GetStoreStatistics": {},
        "CreateAccount": {"Account": "another", "ZoneLimit": ["cn-bj2-02"], "NetworkLimit": ["192.0.2.0/24"]},
        "ModifyAccount": {**account, "Company": "Sample"},
        "ListAccounts": {},
        "CreateUser": {**account, "User": "third"},
        "ListUsers": account,
        "RemoveUser": {**account, "User": "leaving"},
        "CreateProject": {**account, "ProjectName": "Second"},
        "ListProjects": account,
        "RemoveProject": {**account, "ProjectId": closing},
        "SetProjectMember": {**account, "ProjectId": project, "User": "other", "Role": "editor"},
        "RemoveProjectMember": {**account, "ProjectId": project, "User": "member"},
        "CreateAccessKey": {**account, "User": "other", "ExpireTime": 0},
        "ListAccessKeys": account,
        "CreateConsoleLogin": {},
        "RevokeAccessKey": {"AccessKey": opened["PublicKey"]},
    }


def waiting(operator: Client, project: str = "") -> str:
    """An image that waits for its upload: a base image, or a custom one of a project."""
    whose: Params = {"ImageType": "Custom", "ProjectId": project} if project else {}
    return str(operator.call("PublishPHostImage", **{**ABOUT, **whose}, TrustFirstUse=True).fields["ImageId"])


def waiting_job(operator: Client, project: str = "") -> str:
    """The job of such an image."""
    jobs = operator.call("ListPHostImageJobs", ImageId=waiting(operator, project)).fields["JobSet"]
    return str(jobs[0]["JobId"])


def project_of(client: Client) -> str:
    """The default project of who is calling."""
    projects = client.call("GetProjectList").fields["ProjectSet"]
    return str(next(project["ProjectId"] for project in projects if project["IsDefault"]))


def of_tenant(tenant: Client, project: str) -> dict[str, Params]:
    """What differs for a tenant, who publishes and changes custom images of a project of its own."""
    custom: Params = {"ImageType": "Custom", "ProjectId": project}
    with tempfile.TemporaryDirectory() as folder:
        original = disk(Path(folder))
        sent = _sent(tenant, original, custom)
    image: Params = {"ImageId": waiting(tenant, project)}
    return {
        "PublishPHostImage": custom,
        "GetPHostImageUploadUrl": image,
        "CompletePHostImageUpload": {"ImageId": sent},
        "GetPHostImageJob": image,
        "GetPHostImageProgress": image,
        "ModifyPHostImageInfo": image,
        "UpdatePHostImage": image,
    }


def _sent(client: Client, original: Path, whose: Params | None = None) -> str:
    """An image all of whose parts are there, so that its upload can be completed."""
    digest = f"sha256:{sha256_of(original)}"
    request = {**ABOUT, **(whose or {})}
    begun = client.call("PublishPHostImage", **request, Size=original.stat().st_size, Digest=digest).fields
    upload(open_source(str(original)), lambda: str(begun["UploadUrl"]))
    return str(begun["ImageId"])


def _job(operator: Client, image: str) -> str:
    """The state of a publication. It must not fail."""
    job = operator.call("GetPHostImageJob", ImageId=image).fields
    assert job["State"] != "Failed", job
    return str(job["State"])
