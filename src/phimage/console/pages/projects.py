"""The projects between which a person chooses."""

from __future__ import annotations

from phimage.actions.caller import GetProjectList, GetProjectListResponse, ProjectRow
from phimage.actions.find import ALL as ALL
from phimage.console.visit import Visit


async def project_choices(visit: Visit) -> tuple[ProjectRow, ...]:
    """The projects of a tenant; none for an operator, whose pages show all."""
    if visit.session.is_operator:
        return ()
    return (await visit.ask(GetProjectList, GetProjectListResponse)).project_set
