"""Every Action of phimage: one file per noun, with the request and response types and the handlers."""

from __future__ import annotations

from phimage.actions import (
    accounts,
    agent,
    caller,
    capture,
    catalog,
    console_login,
    details,
    downloads,
    edit,
    explain,
    feed,
    find,
    hosts,
    images,
    jobs,
    keys,
    machines,
    matrix,
    phosts,
    places,
    progress,
    projects,
    publish,
    quotas,
    restore,
    revisions,
    statistics,
    topology,
    uploading,
    users,
    withdraw,
)
from phimage.actions.service import DEFAULTS, ListSettings, Service
from phimage.catalog.views import View
from phimage.gateway.registry import Registry

ACTIONS = (
    *images.ACTIONS,
    *details.ACTIONS,
    *explain.ACTIONS,
    *find.ACTIONS,
    *matrix.ACTIONS,
    *feed.ACTIONS,
    *downloads.ACTIONS,
    *edit.ACTIONS,
    *withdraw.ACTIONS,
    *restore.ACTIONS,
    *machines.ACTIONS,
    *places.ACTIONS,
    *topology.ACTIONS,
    *caller.ACTIONS,
    *catalog.ACTIONS,
    *publish.ACTIONS,
    *uploading.ACTIONS,
    *jobs.ACTIONS,
    *progress.ACTIONS,
    *quotas.ACTIONS,
    *phosts.ACTIONS,
    *capture.ACTIONS,
    *hosts.ACTIONS,
    *agent.ACTIONS,
    *revisions.ACTIONS,
    *statistics.ACTIONS,
    *accounts.ACTIONS,
    *users.ACTIONS,
    *projects.ACTIONS,
    *keys.ACTIONS,
    *console_login.ACTIONS,
)


def registry(settings: ListSettings = DEFAULTS) -> Registry[View, Service]:
    """All Actions, as an installation with these settings has them; by default a new one."""
    return Registry(ACTIONS, settings)
