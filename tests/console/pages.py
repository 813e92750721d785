"""The pages of the console that look: their paths, and who may open them."""

from __future__ import annotations

from msgspec import Struct

from tests.console.conftest import OPERATOR, TENANT


class LookedAt(Struct, frozen=True):
    """A page by a name for reports."""

    name: str
    path: str
    who: str


PAGES = (
    LookedAt("overview-of-tenant", "/console/", TENANT),
    LookedAt("overview", "/console/", OPERATOR),
    LookedAt("images", "/console/images?Zone=cn-bj2-02", TENANT),
    LookedAt("images-none", "/console/images?q=nothing-has-this-name", TENANT),
    LookedAt("images-past", "/console/images?Zone=cn-bj2-02&rev=3", OPERATOR),
    LookedAt("image", "/console/images/pimg-os-web7k2ma", OPERATOR),
    LookedAt("image-of-tenant", "/console/images/pimg-os-web7k2ma", TENANT),
    LookedAt("image-failed", "/console/images/pimg-os-old5r7uc", OPERATOR),
    LookedAt("why-not", "/console/images/pimg-ub-rm081p/why?Zone=cn-bj2-02&MachineType=DB-2&Cluster=25G", TENANT),
    LookedAt("why", "/console/images/pimg-db-8pddem/why?Zone=cn-bj2-02&MachineType=DB-2", TENANT),
    LookedAt("matrix", "/console/matrix?Zone=cn-bj2-02", TENANT),
    LookedAt("log", "/console/log", OPERATOR),
    LookedAt("log-none", "/console/log?actor=nobody", OPERATOR),
    LookedAt("revision", "/console/log/14", OPERATOR),
    LookedAt("store", "/console/store", OPERATOR),
    LookedAt("quotas", "/console/quotas", OPERATOR),
    LookedAt("accounts", "/console/accounts", OPERATOR),
    LookedAt("account", "/console/accounts/demo", OPERATOR),
    LookedAt("projects", "/console/projects?Account=demo", OPERATOR),
    LookedAt("projects-of-tenant", "/console/projects", TENANT),
    LookedAt("keys", "/console/keys?Account=demo", OPERATOR),
    LookedAt("publish", "/console/publish", OPERATOR),
    LookedAt("publish-of-tenant", "/console/publish", TENANT),
    LookedAt("jobs", "/console/jobs", OPERATOR),
    LookedAt("jobs-none", "/console/jobs?State=Waiting", TENANT),
    LookedAt("job", "/console/jobs/job-running", OPERATOR),
    LookedAt("image-edit", "/console/images/pimg-os-web7k2ma/edit", OPERATOR),
    LookedAt("sign-in", "/console/login", TENANT),
    LookedAt("hosts", "/console/hosts", OPERATOR),
    LookedAt("host", "/console/hosts/upm-stopped1", OPERATOR),
    LookedAt("host-of-tenant", "/console/hosts/upm-stopped1", TENANT),
    LookedAt("absent", "/console/images/no-such-image", TENANT),
    LookedAt("refused", "/console/log", TENANT),
)
