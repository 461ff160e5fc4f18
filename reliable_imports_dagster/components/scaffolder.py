"""What `dg scaffold defs` writes for a component."""

import re
from pathlib import Path

import click
import dagster as dg
from dagster._core.definitions.utils import DISALLOWED_NAMES  # no public name
from pydantic import BaseModel, ConfigDict, Field

from reliable_imports import batch_type_of

_PROCESSOR = '''\
from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext


class {name}Processor(BaseProcessor):
    """What one item is, and where it goes."""

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return bool(item.source_data)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict:
        raise NotImplementedError("write the item to its table with ctx.upsert")
'''
_TABLE_PROCESSOR = '''\
from pydantic import BaseModel

from reliable_imports import TableProcessor


class {name}Row(BaseModel):
    """One item: its fields are columns of {table}."""

    id: int


class {name}Processor(TableProcessor):
    """What {table} holds, and where it comes from."""

    table = "{table}"
    key = ("id",)
    model = {name}Row
'''


class ScaffoldParams(BaseModel):
    """What `dg scaffold defs` takes, as options or by `--json-params`."""

    model_config = ConfigDict(extra="forbid")  # a param that is misspelt would be left out in silence

    packages: list[str] | None = Field(
        default=None,
        description="Where the processors are already; then no processors.py is written.",
    )
    table: str | None = Field(
        default=None,
        description="A table that the items go to, such as shop.orders: the processor that is written is for it.",
    )


class ReliableImportsScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes a defs.yaml that loads, and beside it a processor to fill in, named after the folder."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        """Overwrites nothing.

        Raises:
            click.ClickException: there is a processors.py already, or no class can have the folder's name, or the
                params do not go together.
        """
        params = request.params or ScaffoldParams()
        if params.packages is None:
            packages = [".processors"]
            _write_processor(request.target_path, params.table)
        elif params.table is None:
            packages = list(params.packages)
        else:
            raise click.ClickException("a table is for a processor that is written, and packages hold their own")
        dg.scaffold_component(request, {"packages": packages})


def _write_processor(folder: Path, table: str | None) -> None:
    name = _class_name(folder.name)
    if table is not None and not re.fullmatch(r"[^\s\"\\{}]+", table):
        raise click.ClickException(f"{table!r} is no name of a table; give one like orders or shop.orders")
    module = folder / "processors.py"
    try:
        with module.open("x", encoding="utf-8") as file:
            file.write((_PROCESSOR if table is None else _TABLE_PROCESSOR).format(name=name, table=table))
    except FileExistsError:
        raise click.ClickException(
            f"{module} exists and was left as it is; name another folder, or write a defs.yaml beside it by hand"
        ) from None


def _class_name(folder: str) -> str:
    """`customer-data` is CustomerData."""
    name = "".join(word[0].upper() + word[1:] for word in re.split(r"[\W_]+", folder) if word)
    if not name.isidentifier() or "." in folder or batch_type_of(f"{name}Processor") in DISALLOWED_NAMES:
        raise click.ClickException(
            f"no processor can be named after the folder {folder!r}; "
            "name it with letters, digits and _, such as customer_data, not beginning with a digit, "
            "and by no word that Dagster or Python keeps for itself"
        )
    return name
