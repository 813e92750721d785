"""Catalogue as code, for the operator: plan, apply, export."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.restore import is_stored, refresh
from phimage.actions.service import Call, Service
from phimage.catalog_file.export import export
from phimage.catalog_file.history import restorable_manifests
from phimage.catalog_file.plan import KeptRecord, Plan, apply_plan, plan, plan_of
from phimage.catalog_file.read import ParsedFile, read
from phimage.errors import UnavailableParam
from phimage.fields import with_controls
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ManifestDigest
from phimage.model.image import NO_PROJECT

MAX_CATALOG = 8 * 1024 * 1024
"""Max bytes of a request with a catalogue file."""

CatalogParam = Annotated[
    str, Meta(max_length=MAX_CATALOG, description="text of the catalogue file, YAML", extra=with_controls("any"))
]
PruneParam = Annotated[
    bool,
    Meta(description="withdraw what the file does not define, except published images that no applied file has ever named"),
]


class PlanCatalog(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show what a catalogue file would change, without changing anything."""

    catalog: CatalogParam
    prune: PruneParam = False


class ApplyCatalog(Struct, rename="pascal", frozen=True, kw_only=True):
    """Apply a catalogue file in one revision.

    Withdraw must be the number of images that Prune withdraws. With another number the request fails with RetCode 230, and
    `WithdrawSet` lists these images.
    """

    catalog: CatalogParam
    prune: PruneParam = False
    withdraw: Annotated[int, Meta(ge=0, description="number of images that Prune withdraws")] = 0


class ExportCatalog(Struct, rename="pascal", frozen=True, kw_only=True):
    """Export the catalogue as a file. The same catalogue always gives the same bytes."""


class FieldSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A changed field. An absent value is empty."""

    field: Annotated[str, Meta(description="name of the field")]
    old: Annotated[str, Meta(description="value before")]
    new: Annotated[str, Meta(description="value after")]


class DifferenceSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A record that is added, changed, withdrawn or, for a withdrawn image, restored."""

    noun: Annotated[str, Meta(description="cluster, region, zone, machine_type, offer, image or source")]
    id: Annotated[str, Meta(description="id of the record")]
    title: Annotated[str, Meta(description="name of the record, for people")]
    verb: Annotated[str, Meta(description="added, changed, withdrawn or restored")]
    fields: Annotated[
        tuple[FieldSet, ...],
        Meta(
            description="the changed fields; none for an added or withdrawn record. Those of a restored image compare with its "
            "last state; the field `bytes` says whether its bytes are restored, fetched from its source, or none"
        ),
    ]


class KeptSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A record that the file does not define and that stays, or an image that the file names for the first time."""

    noun: Annotated[str, Meta(description="cluster, region, zone, machine_type or image")]
    id: Annotated[str, Meta(description="id of the record")]
    title: Annotated[str, Meta(description="name of the record, for people")]


class PlanCatalogResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The changes of a plan, or the changes that were applied.

    A file with errors fails with RetCode 230 and all errors in `Errors`: Line, Column, Field, Message.
    """

    revision: Annotated[int, Meta(description="the newest revision, after the changes if they were applied")]
    difference_set: Annotated[tuple[DifferenceSet, ...], Meta(description="the records that the file changes")]
    kept_set: Annotated[
        tuple[KeptSet, ...], Meta(description="records that the file does not define and that stay, because Prune is not set")
    ]
    spared_set: Annotated[
        tuple[KeptSet, ...],
        Meta(description="published images that no applied file ever named: they stay, even with Prune"),
    ]
    adopted_set: Annotated[
        tuple[KeptSet, ...],
        Meta(description="published images that the file names for the first time: from now on, Prune can withdraw them"),
    ]


class ExportCatalogResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The catalogue of a revision."""

    revision: Annotated[int, Meta(description="the exported revision")]
    catalog: Annotated[str, Meta(description="text of the catalogue file, YAML")]


def plan_catalog(request: PlanCatalog, call: Call) -> PlanCatalogResponse:
    if call.view.pinned:
        raise UnavailableParam("rev", detail="a plan compares with the newest revision: leave out /rev/ and /at/ in the path")
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        made = plan(connection, call.view.revision, request.catalog, request.prune, partial(is_stored, call.service))
    return _response(_without_errors(made), call.view.revision)


def apply_catalog(request: ApplyCatalog, call: Call) -> PlanCatalogResponse:
    parsed = read(request.catalog)
    refreshed = refresh(call.service, _restorable(parsed, call.service))
    with call.service.change(call) as change:
        made = _without_errors(plan_of(change.connection, change.parent, parsed, request.prune, refreshed.has))
        _check_withdrawals(made, request.withdraw)
        refreshed.check(call.service.now())
        apply_plan(change, made, call.service.random)
    return _response(made, change.number if change.records else change.parent)


def _restorable(parsed: ParsedFile, service: Service) -> list[ManifestDigest]:
    with service.catalog.database.read() as connection:
        return restorable_manifests(connection, parsed.document)


def export_catalog(request: ExportCatalog, call: Call) -> ExportCatalogResponse:
    text = export(call.view.topology(), call.view.base_images(), call.view.image_bytes_of(NO_PROJECT))
    return ExportCatalogResponse(revision=call.view.revision, catalog=text)


def _without_errors(made: Plan) -> Plan:
    """The plan itself. Raises UnavailableParam with all errors of the file."""
    if made.errors:
        first = made.errors[0]
        raise UnavailableParam(
            "Catalog",
            detail=f"errors in the file: {len(made.errors)}, the first in line {first.line}: {first.field}: {first.message}",
            fields={
                "Errors": [
                    {"Line": error.line, "Column": error.column, "Field": error.field, "Message": error.message}
                    for error in made.errors
                ]
            },
        )
    return made


def _check_withdrawals(made: Plan, agreed: int) -> None:
    """Raises UnavailableParam, with the list of images, unless the plan withdraws as many images as the caller agreed to."""
    images = made.withdrawn_images
    if len(images) == agreed:
        return
    names = ", ".join(f"{image.id} ({image.title})" for image in images) or "none"
    raise UnavailableParam(
        "Withdraw",
        detail=f"Prune withdraws {len(images)} images: {names}; to agree, send Withdraw={len(images)}",
        fields={"WithdrawSet": [{"ImageId": image.id, "ImageName": image.title} for image in images]},
    )


def _response(made: Plan, revision: int) -> PlanCatalogResponse:
    return PlanCatalogResponse(
        revision=revision,
        difference_set=tuple(
            DifferenceSet(
                noun=difference.noun,
                id=difference.id,
                title=difference.title,
                verb=difference.verb,
                fields=tuple(FieldSet(field=field.field, old=field.old, new=field.new) for field in difference.fields),
            )
            for difference in made.differences
        ),
        kept_set=_kept_set(made.kept),
        spared_set=_kept_set(made.spared),
        adopted_set=_kept_set(made.adopted),
    )


def _kept_set(records: tuple[KeptRecord, ...]) -> tuple[KeptSet, ...]:
    return tuple(KeptSet(noun=kept.noun, id=kept.id, title=kept.title) for kept in records)


ACTIONS = (
    Action(PlanCatalog, PlanCatalogResponse, plan_catalog, Right.OPERATE, max_body=MAX_CATALOG),
    Action(ApplyCatalog, PlanCatalogResponse, apply_catalog, Right.OPERATE, changes=True, max_body=MAX_CATALOG),
    Action(ExportCatalog, ExportCatalogResponse, export_catalog, Right.OPERATE),
)
