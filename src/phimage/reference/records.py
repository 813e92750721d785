"""The pages about errors, exit codes, settings and the catalogue file."""

from __future__ import annotations

from msgspec import Struct

from phimage.catalog_file.document import Document
from phimage.cli.error_report import ErrorReport
from phimage.cli.exit_codes import EXIT_CODES
from phimage.errors import REQUEST_ERRORS
from phimage.fields import nested_records
from phimage.gateway.describe import field_texts
from phimage.reference.markdown import code, limits, prose, table, title, type_of
from phimage.settings import Settings

ERRORS = """\
# Errors

An error has HTTP status 200, a `RetCode` other than 0 and a `Message`. The wording of `Message` is stable, so
programs may compare it. `Detail`, if present, has the reason and the remedy for people. Retry 150 and 153 only: the
others fail again unless the request or the catalogue changes.

"""

SETTINGS = """\
# Settings

A setting is a key of a TOML file (`phimage serve --config FILE`, or `PHIMAGE_CONFIG`), an environment variable or,
for the most common ones, a flag. A variable overrides the file, a flag overrides both. In a variable, commas separate
the elements of a list. For the variables of the client, see the [connection options](cli.md#connection-options).

"""

EXIT_CODES_PAGE = """\
# Exit codes

A command prints its result on standard output, and errors, notes and progress on standard error. An error ends with
what to do about it.

"""

JSON_ERRORS = """\
## Errors as JSON

With `--json` or `-o json`, an error is one JSON object on the last line of standard error, also when the command line
itself is wrong, and standard output stays empty. Lines before it are notes, for example about a wait. Results are
printed in any case: the findings of a check, the differences of a plan, and the response of `phimage api`, whose
RetCode is its own.

```sh
phimage image ls --zone cn-bj2-99 --json
```

```json
{"ExitCode":1,"Message":"Params [Zone] not available","Usage":"","RetCode":230,"Detail":"region cn-bj2 has cn-bj2-02",
 "RequestId":"...","Errors":[]}
```

"""

CATALOG = """\
# Catalogue file

The catalogue as code: places, machine types and base images in one YAML file. `phimage catalog starter` prints
a starter file, `phimage catalog schema` the JSON Schema for editors. `phimage catalog plan FILE` shows what a file
would change, `apply` applies it in one revision, `export` writes the catalogue as a file.

Text is text: `version: 8.10` is the version "8.10". A field that is not required can be left out. An unknown
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
        ("RetCode", "Message", "Meaning"),
        ((str(error.ret_code), code(error.form.format("...")), error.meaning) for error in REQUEST_ERRORS),
    )


def settings_page() -> str:
    """Every setting."""
    return SETTINGS + table(
        ("Key", "Variable", "Type", "Default", "Limits", "Description"),
        (
            (
                code(row.name),
                code(f"PHIMAGE_{row.name.upper()}"),
                row.type_name,
                code(row.default),
                limits(row),
                row.description,
            )
            for row in field_texts(Settings)
        ),
    )


def catalog_page() -> str:
    """Every field of the catalogue file."""
    records: list[type[Struct]] = [Document, *nested_records(Document)]
    return CATALOG + "\n".join(map(_record, records))


def exit_codes_page() -> str:
    """Every exit code, and the fields of an error as JSON."""
    codes = table(("Code", "Meaning"), ((code(str(number)), meaning) for number, meaning in EXIT_CODES.items()))
    records: list[type[Struct]] = [ErrorReport, *nested_records(ErrorReport)]
    return "\n".join([EXIT_CODES_PAGE + codes, JSON_ERRORS + "\n".join(map(_fields, records))])


def _fields(record: type[Struct]) -> str:
    rows = ((code(row.name), type_of(row), row.description) for row in field_texts(record))
    return f"### {title(record)}\n\n{prose(record)}\n\n{table(('Field', 'Type', 'Description'), rows)}"


def _record(record: type[Struct]) -> str:
    rows = (
        (code(row.name), type_of(row), "yes" if row.required else "", code(row.default), limits(row), row.description)
        for row in field_texts(record)
    )
    fields = table(("Field", "Type", "Required", "Default", "Limits", "Description"), rows)
    return f"## {title(record)}\n\n{prose(record)}\n\n{fields}"
