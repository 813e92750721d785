"""What each client's model makes of an answer: one strict decoder per client (wire-protocol 4.2, 4.3, 6.2 to 6.7).

A decoder accepts exactly what table 4.3 marks as good for its client. What the client refuses, and what it takes with a
wrong or odd value, is Undecodable. Values are those of `gateway.strict_object`: a number with a point is a Decimal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct


class Undecodable(Exception):
    """The client cannot read the value, or reads something else than was meant."""


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()
"""The value of a key that is not there."""

Decoder = Callable[[Any, str], None]
"""Looks at a value, at a place in the answer. Raises Undecodable."""


def _refuse(value: Any, where: str, wanted: str) -> None:
    raise Undecodable(f"{where}: {value!r} is not {wanted}")


def _leaf(wanted: str, holds: Callable[[Any], bool]) -> Decoder:
    def decode(value: Any, where: str) -> None:
        if not holds(value):
            _refuse(value, where, wanted)

    return decode


def either(*decoders: Decoder) -> Decoder:
    """What one of several decoders takes."""

    def decode(value: Any, where: str) -> None:
        reasons = []
        for decoder in decoders:
            try:
                decoder(value, where)
            except Undecodable as error:
                reasons.append(str(error))
            else:
                return
        raise Undecodable("; ".join(reasons))

    return decode


def many(item: Decoder) -> Decoder:
    """An array."""

    def decode(value: Any, where: str) -> None:
        if not isinstance(value, list):
            _refuse(value, where, "an array")
        for position, inner in enumerate(value):
            item(inner, f"{where}[{position}]")

    return decode


def record(fields: Mapping[str, Decoder], *, fold: bool) -> Decoder:
    """An object. Keys that the model does not have are ignored; with `fold` the case of keys does not count, so that no two
    keys may fold to the same name with different values."""

    def decode(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, where, "an object")
        found: dict[str, Any] = {}
        for name, inner in value.items():
            key = name.lower() if fold else name
            if key in found and found[key] != inner:
                _refuse(name, where, "the only key of its name")
            found[key] = inner
        for name, decoder in fields.items():
            decoder(found.get(name.lower() if fold else name, ABSENT), f"{where}.{name}")

    return decode


def _is_int(value: Any) -> bool:
    return type(value) is int


def _is_whole(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, Decimal) and value == value.to_integral_value())


def _is_number(value: Any) -> bool:
    return _is_int(value) or isinstance(value, Decimal)


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _fits(bits: int) -> Callable[[Any], bool]:
    return lambda value: _is_number(value) and abs(int(value)) < 2 ** (bits - 1)


null = _leaf("null", lambda value: value is None)
absent = _leaf("absent", lambda value: value is ABSENT)
anything = _leaf("anything", lambda value: True)
text = _leaf("a string", _is_text)
truth = _leaf("true or false", lambda value: isinstance(value, bool))
integer = _leaf("an integer literal", _is_int)
digits = _leaf("a string of digits", _is_digits)
_int32 = _leaf("a 32-bit integer literal", lambda value: _is_int(value) and _fits(32)(value))
_whole32 = _leaf("a whole number of 32 bits", lambda value: _is_whole(value) and _fits(32)(value))
_digits32 = _leaf("a string of digits of 32 bits", lambda value: _is_digits(value) and int(value) < 2**31)
_int64 = _leaf("a 64-bit integer literal", lambda value: _is_int(value) and _fits(64)(value))
_whole = _leaf("a whole number", _is_whole)
number = _leaf("a number", _is_number)
numeric_text = _leaf("the text of a number", lambda value: _is_text(value) and value.replace(".", "", 1).isdigit())


def optional(decoder: Decoder) -> Decoder:
    """A value, null or nothing."""
    return either(decoder, null, absent)


class Client(Struct, frozen=True):
    """The types of a client's models. `answers` are its models by Action."""

    name: str
    answers: Mapping[str, Decoder]

    def decode(self, action: str, answer: Mapping[str, Any]) -> None:
        """Raises Undecodable when the client cannot read the answer of an Action."""
        self.answers[action](answer, action)


class _Types(Struct, frozen=True):
    """How a client decodes each kind of field; `rows` is the list that an answer is about, `array` any other."""

    text: Decoder
    whole: Decoder
    real: Decoder
    truth: Decoder
    array: Callable[[Decoder], Decoder]
    rows: Callable[[Decoder], Decoder]
    object: Callable[[Mapping[str, Decoder]], Decoder]
    create_time: Decoder
    total: Decoder


def _envelope(types: _Types, fields: Mapping[str, Decoder]) -> Decoder:
    """Every client reads a good answer only from `RetCode: 0`, an integer (1.2, rule 15)."""
    good = _leaf("0", lambda value: _is_int(value) and value == 0)
    return types.object({"RetCode": good, "Message": optional(text), **fields})


def _images(types: _Types) -> Decoder:
    image = types.object(
        {
            **dict.fromkeys(
                ("ImageId", "ImageName", "OsName", "OsType", "Version", "ImageType", "State", "ImageDescription"), types.text
            ),
            "Support": types.array(types.text),
            "CreateTime": types.create_time,
            "ImageSize": types.whole,
        }
    )
    return _envelope(types, {"TotalCount": types.total, "ImageSet": types.rows(image)})


def _legacy_machine_types(types: _Types, *, disks: bool) -> Decoder:
    """The old model: Clusters, Components as an object."""
    component = types.object({"Name": types.text, "Count": types.whole})
    cpu = {"Model": types.text, "Frequence": types.real, "Count": types.whole, "CoreCount": types.whole}
    disk = {"Space": types.whole, "Count": types.whole, "Type": types.text, "Name": types.text, "IOCap": types.whole}
    fields = {
        "Type": types.text,
        "CPU": types.object(cpu),
        "Memory": types.whole,
        "Clusters": types.array(types.object({"Name": types.text, "StockStatus": types.text})),
        "Components": optional(component),
    }
    if disks:
        fields |= {"Disks": types.array(types.object(disk)), "RaidSupported": types.text}
    return _envelope(types, {"MachineTypes": types.rows(types.object(fields))})


def _machine_types(types: _Types) -> Decoder:
    """The new model: Cluster and StockStatus, Components as an array, no Price."""
    component = types.object({"Name": types.text, "Count": types.whole})
    cpu = {"Model": types.text, "Frequency": types.text, "Count": types.whole, "CoreCount": types.whole}
    gpu = {"Name": types.text, "Count": types.whole, "Memory": types.text, "Performance": types.text}
    numbers = ("Space", "IoCap", "Number", "UnitSize", "RaidLevel", "DiskType")
    disk = {"Name": types.text, **dict.fromkeys(numbers, types.whole)}
    fields = {
        **dict.fromkeys(("Type", "Zone", "Cluster", "StockStatus", "RaidSupported"), types.text),
        **dict.fromkeys(("IsBaremetal", "IsNew", "OnSale", "IsGpu"), types.truth),
        **dict.fromkeys(("Memory", "Stock"), types.whole),
        "CPU": types.object(cpu),
        "Disks": types.array(types.object(disk)),
        "Components": optional(many(component)),
        "GpuInfo": types.object(gpu),
        "Scene": types.array(types.text),
        "Price": absent,
    }
    return _envelope(types, {"MachineTypes": types.rows(types.object(fields))})


def _hosts(types: _Types, *, newest: bool) -> dict[str, Decoder]:
    """Hosts; their CreateTime is a number, unlike that of images. Two clients lack the newest fields."""
    cpu = {"Model": types.text, "Frequence": types.real, "Count": types.whole, "CoreCount": types.whole}
    disk = {
        **dict.fromkeys(("Space", "Count", "IOCap"), types.whole),
        **dict.fromkeys(("Type", "Name", "Drive", "DiskId", "IsBoot"), types.text),
    }
    address = {
        **dict.fromkeys(("OperatorName", "IPId", "IPAddr", "MACAddr", "SubnetId", "VPCId"), types.text),
        "Bandwidth": types.whole,
    }
    fields = {
        **dict.fromkeys(_HOST_TEXTS, types.text),
        **dict.fromkeys(("BootDiskState", "RdmaClusterId") if newest else (), types.text),
        **dict.fromkeys(("CreateTime", "ExpireTime", "Memory"), types.whole),
        "CPUSet": types.object(cpu),
        "DiskSet": types.array(types.object(disk)),
        "IPSet": types.array(types.object(address)),
    }
    return {
        "DescribePHost": _envelope(types, {"TotalCount": types.total, "PHostSet": types.rows(types.object(fields))}),
        "ReinstallPHost": _envelope(types, {"PHostId": types.text}),
        "CreatePHostImage": _envelope(types, {"ImageId": types.text}),
    }


_HOST_TEXTS = (
    *("Zone", "PHostId", "SN", "PMStatus", "Name", "Remark", "Tag", "ImageName", "OSname", "ChargeType", "PowerState"),
    *("PHostType", "Cluster", "AutoRenew", "IsSupportKVM", "OSType", "Components", "RaidSupported", "PhostClass"),
)


def _accounts(types: _Types) -> dict[str, Decoder]:
    region = {
        **dict.fromkeys(("RegionName", "BitMaps", "Region", "Zone"), types.text),
        "RegionId": types.whole,
        "IsDefault": types.truth,
    }
    project = {
        **dict.fromkeys(("ProjectId", "ProjectName", "ParentId", "ParentName"), types.text),
        **dict.fromkeys(("CreateTime", "ResourceCount", "MemberCount"), types.whole),
        "IsDefault": types.truth,
    }
    user = {
        **dict.fromkeys(_USER_TEXTS, types.text),
        **dict.fromkeys(("Admin", "Finance", "IndustryType", "UserId", "UserType", "UserVersion"), types.whole),
    }
    return {
        "GetRegion": _envelope(types, {"Regions": types.rows(types.object(region))}),
        "GetProjectList": _envelope(types, {"ProjectCount": types.whole, "ProjectSet": types.rows(types.object(project))}),
        "GetUserInfo": _envelope(types, {"DataSet": _one(types.object(user))}),
    }


_USER_TEXTS = (
    *("Administrator", "AuthState", "City", "CompanyName", "PhonePrefix", "Province", "UserAddress", "UserEmail"),
    *("UserName", "UserPhone"),
)


def _one(item: Decoder) -> Decoder:
    """An array of exactly one element, as the `ucloud` CLI wants it."""

    def decode(value: Any, where: str) -> None:
        many(item)(value, where)
        if len(value) != 1:
            _refuse(value, where, "an array of one element")

    return decode


def _folding(fields: Mapping[str, Decoder]) -> Decoder:
    return record(fields, fold=True)


def _exact(fields: Mapping[str, Decoder]) -> Decoder:
    return record(fields, fold=False)


def _absent_or_null(item: Decoder) -> Decoder:
    return optional(many(item))


# Go: encoding/json. Null and nothing leave the zero value; a string is a string, an integer has no point and no quotes.
_GO = _Types(
    text=optional(text),
    whole=optional(_int64),
    real=optional(number),
    truth=optional(truth),
    array=_absent_or_null,
    rows=_absent_or_null,
    object=lambda fields: optional(_folding(fields)),
    create_time=optional(text),
    total=optional(_int64),
)

# Python: the SDK converts with int() and str(); a list would be made of the characters of a string, so it must be a list.
_PY_INT = optional(either(_whole, digits))
_PY = _Types(
    text=optional(text),
    whole=_PY_INT,
    real=optional(either(number, numeric_text)),
    truth=optional(truth),
    array=_absent_or_null,
    rows=_absent_or_null,
    object=lambda fields: optional(_folding(fields)),
    create_time=_PY_INT,
    total=_PY_INT,
)

# JavaScript: takes anything, so the values themselves must be what the type definitions promise to the caller.
_JS = _Types(
    text=optional(text),
    whole=optional(_whole),
    real=optional(number),
    truth=optional(truth),
    array=many,
    rows=many,
    object=_exact,
    create_time=optional(either(text, _whole)),
    total=_whole,
)

# Java: Gson, with 32-bit integers. A null list is handed to the caller.
_JV_INT = either(_whole32, _digits32)
_JV = _Types(
    text=optional(text),
    whole=optional(_JV_INT),
    real=optional(number),
    truth=optional(truth),
    array=many,
    rows=many,
    object=_exact,
    create_time=optional(either(text, integer)),
    total=either(_JV_INT, null),
)

# PHP: getters read the array and warn where a key is missing.
_PHP = _Types(
    text=either(text, null),
    whole=either(integer, null),
    real=either(number, null),
    truth=either(truth, null),
    array=many,
    rows=lambda item: either(many(item), null),
    object=_exact,
    create_time=either(text, _whole, null),
    total=either(integer, null),
)

# Terraform: its own struct for images, without CreateTime, from JSON numbers; machine types as in Go, of which it reads three.
_TF = _Types(
    text=optional(text),
    whole=optional(_whole),
    real=optional(number),
    truth=optional(truth),
    array=_absent_or_null,
    rows=_absent_or_null,
    object=lambda fields: optional(_folding(fields)),
    create_time=anything,
    total=optional(_whole),
)

_MACHINE_TYPES = ("DescribePHostMachineType", "DescribeBaremetalMachineType")


def _image_set(types: _Types) -> dict[str, Decoder]:
    return {"DescribePHostImage": _images(types)}


def _changes(types: _Types) -> dict[str, Decoder]:
    return dict.fromkeys(("ModifyPHostImageInfo", "TerminatePHostImage"), _envelope(types, {"ImageId": types.text}))


def _legacy(types: _Types) -> dict[str, Decoder]:
    """The cloud-disk model has no disks."""
    local, cloud = _MACHINE_TYPES
    return {local: _legacy_machine_types(types, disks=True), cloud: _legacy_machine_types(types, disks=False)}


def _new(types: _Types) -> dict[str, Decoder]:
    return dict.fromkeys(_MACHINE_TYPES, _machine_types(types))


PY = Client("PY", {**_image_set(_PY), **_changes(_PY), **_legacy(_PY), **_accounts(_PY), **_hosts(_PY, newest=True)})
GO = Client("GO", {**_image_set(_GO), **_changes(_GO), **_new(_GO), **_accounts(_GO), **_hosts(_GO, newest=True)})
JS = Client("JS", {**_image_set(_JS), **_changes(_JS), **_legacy(_JS), **_accounts(_JS), **_hosts(_JS, newest=False)})
JV = Client("JV", {**_image_set(_JV), **_changes(_JV), **_new(_JV), **_accounts(_JV), **_hosts(_JV, newest=True)})
PHP = Client("PHP", {**_image_set(_PHP), **_changes(_PHP), **_legacy(_PHP), **_accounts(_PHP), **_hosts(_PHP, newest=False)})
TF = Client("TF", {**_image_set(_TF), **_changes(_TF), **_new(_GO), **_accounts(_GO), **_hosts(_GO, newest=True)})
CLIENTS = {client.name: client for client in (PY, GO, JS, JV, PHP, TF)}


def _rows(*names: str) -> Decoder:
    return many(record(dict.fromkeys(names, text), fold=False))


PLACES: Mapping[str, Decoder] = {
    "ListRegions": record({"Regions": _rows("Region", "RegionName")}, fold=False),
    "ListZones": record({"Zones": _rows("Region", "Zone", "ZoneName")}, fold=False),
}
"""What public consumers of these two Actions read; no official client has them (6.5)."""
