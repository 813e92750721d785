"""The pages about errors, settings and the catalogue file."""

from __future__ import annotations

from msgspec import Struct

from phimage.catalog_file.document import Document
from phimage.errors import REQUEST_ERRORS
from phimage.gateway.describe import nested, rows_of
from phimage.reference.markdown import code, kind, limits, prose, table, title
from phimage.settings import Settings

ERRORS = """\
# Errors

The response to a failed request has HTTP status 200, a `RetCode` other than 0 and a `Message`. The wording of `Message`
does not change, so programs may compare it; the optional `Detail` is for people. A retry of the same request makes
sense only after 150 and 153.

"""

SETTINGS = """\
# Settings

A setting is a key of a TOML file (`phimage serve --config FILE`, or `PHIMAGE_CONFIG`), a variable, or in some cases a
flag. A variable overrides the file, a flag overrides both. In a variable, commas separate the elements of a list. The
variables of the client are among the [options of commands](cli.md#connection-options).

"""

CATALOG = """\
# Catalogue file

The catalogue as code: places, machine types and base images in one YAML file. `phimage catalog starter` prints a file to
begin with, `phimage catalog schema` the JSON Schema for completion in editors. `phimage catalog plan FILE` shows what a
file would change, `apply` makes these changes in one revision, and `export` writes the catalogue as a file.

Values are read as text: `version: 8.10` is the version "8.10". Fields that are not required can be left out. An unknown
field is an error. A small catalogue:

```yaml
phimage: 1
clusters:
  - id: 25G
    default: true
regions:
  - id: cn-bj2
    number: 1000001
    name: {zh: 北京二, en: Beijing 2}
    default: true
    zones:
      - id: cn-bj2-02
        name: {zh: 可用区B, en: Zone B}
machine_types:
  - id: Base-SSD-V5
    name: {zh: 基础型, en: Basic}
    disk_class: LocalDisk
    cpu: {model: Intel Silver 4110, frequency: 2.1, count: 2, cores: 32}
    memory: 64
    offers:
      cn-bj2-02: {25G: 12}
images:
  - id: pimg-cs-xev4rz
    name: Ubuntu 24.04
    family: ubuntu-24.04
    os_type: Ubuntu
    os_name: Ubuntu 24.04
    version: 24.04.1
    size: 20
    created: 2026-11-01T00:00:00Z
    zones: [cn-bj2-02]
    support:
      Base-SSD-V5: [25G]
```

"""


def errors_page() -> str:
    """Every RetCode."""
    return ERRORS + table(
        ("RetCode", "Message", "When"),
        ((str(error.ret_code), code(error.form.format("...")), error.meaning) for error in REQUEST_ERRORS),
    )


def settings_page() -> str:
    """Every setting."""
    return SETTINGS + table(
        ("Key", "Variable", "Type", "Default", "Limits", "What it is"),
        (
            (code(row.name), code(f"PHIMAGE_{row.name.upper()}"), row.kind, code(row.default), limits(row), row.description)
            for row in rows_of(Settings)
        ),
    )


def catalog_page() -> str:
    """Every field of the catalogue file."""
    records: list[type[Struct]] = [Document, *nested(Document)]
    return CATALOG + "\n".join(map(_record, records))


def _record(record: type[Struct]) -> str:
    rows = (
        (code(row.name), kind(row), "yes" if row.required else "", code(row.default), limits(row), row.description)
        for row in rows_of(record)
    )
    fields = table(("Field", "Type", "Required", "Default", "Limits", "What it is"), rows)
    return f"## {title(record)}\n\n{prose(record)}\n\n{fields}"
