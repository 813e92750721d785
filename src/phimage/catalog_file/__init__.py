"""Catalogue as code: the catalogue as a YAML file in git.

    text ──yaml_reader──▶ nodes ──decode──▶ Document ──check──▶ errors
                                               │
                                               └──conversion──▶ the model ──plan──▶ differences ──apply_plan──▶ one revision
    the model ──export──▶ Document ──yaml_writer──▶ text

`document` has the types of a file and its JSON Schema. A file defines base images only.
"""

from __future__ import annotations

from importlib.resources import files

STARTER_REGION = "cn-bj2"
STARTER_ZONE = "cn-bj2-02"
"""Where examples with the starter catalogue begin."""


def starter() -> str:
    """The text of the starter catalogue that ships with phimage."""
    return files(__name__).joinpath("starter.yaml").read_text("utf-8")
