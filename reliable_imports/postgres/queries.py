"""The SQL of a package, read from its `.sql` files: each query stands under a line `-- name: its_name`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load(file_name: str, package: str = __package__) -> Mapping[str, str]:
    """The queries of one file, by name.

    Args:
        file_name: in the folder `sql` of the package.
    """
    text = (resources.files(package) / "sql" / file_name).read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{file_name} names a query twice")
    return dict(zip(names, (body.strip() for body in bodies), strict=True))
