"""Catalogue as code: the catalogue as a YAML file in git.

    text ──tree──▶ nodes ──read──▶ Document ──check──▶ mistakes
                                      │
                                      └──records──▶ the model ──plan──▶ differences ──carry_out──▶ one revision
    the model ──export──▶ text

`document` says what a file may say; `schema` says the same to editors. Only base images are ever read or changed here.
"""

from __future__ import annotations

from importlib.resources import files


def starter() -> str:
    """The catalogue that ships with phimage: a file like any other."""
    return files(__name__).joinpath("starter.yaml").read_text("utf-8")
