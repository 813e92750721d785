"""A good request for every Action: with the operator's key each is answered RetCode 0."""

from __future__ import annotations

from phimage import manifest
from phimage.client import Client, Given

PLACE = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}

Params = dict[str, Given]


def samples(operator: Client) -> dict[str, Params]:
    """The parameters by Action. What they name is made here, so that each Action can be called once."""
    opened = operator.call("CreateAccount", Account="sample").fields
    account: Params = {"Account": "sample"}
    project = opened["ProjectId"]
    closing = operator.call("CreateProject", Account="sample", ProjectName="Closing").fields["ProjectId"]
    for user in ("member", "other", "leaving"):
        operator.call("CreateUser", Account="sample", User=user)
    operator.call("SetProjectMember", Account="sample", ProjectId=project, User="member", Role="viewer")
    image = operator.call("DescribePHostImage", **PLACE, Limit=1).fields["ImageSet"][0]["ImageId"]
    catalog: Params = {"Catalog": manifest.starter()}
    return {
        "DescribePHostImage": {**PLACE, "ImageType": "Base", "ImageId": [image]},
        "GetPHostImage": {"ImageId": image},
        "ExplainPHostImage": {**PLACE, "ImageId": image},
        "ListPHostImageChanges": {"After": 0},
        "DescribePHostMachineType": {**PLACE},
        "DescribeBaremetalMachineType": {**PLACE},
        "GetRegion": {},
        "ListRegions": {},
        "ListZones": {},
        "GetProjectList": {},
        "GetUserInfo": {},
        "PlanCatalog": catalog,
        "ApplyCatalog": catalog,
        "ExportCatalog": {},
        "ListRevisions": {"After": 0},
        "CreateAccount": {"Account": "another", "ZoneLimit": ["cn-bj2-02"], "NetworkLimit": ["192.0.2.0/24"]},
        "ModifyAccount": {**account, "Company": "Sample"},
        "ListAccounts": {},
        "CreateUser": {**account, "User": "third"},
        "ListUsers": account,
        "RemoveUser": {**account, "User": "leaving"},
        "CreateProject": {**account, "ProjectName": "Second"},
        "ListProjects": account,
        "RemoveProject": {**account, "ProjectId": closing},
        "SetProjectMember": {**account, "ProjectId": project, "User": "other", "Role": "operator"},
        "RemoveProjectMember": {**account, "ProjectId": project, "User": "member"},
        "CreateAccessKey": {**account, "User": "other"},
        "ListAccessKeys": account,
        "RevokeAccessKey": {"AccessKey": opened["PublicKey"]},
    }
