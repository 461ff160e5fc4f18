"""What `dg scaffold defs` writes for a component."""

import re
from pathlib import Path

import click
import dagster as dg
from dagster._core.definitions.utils import DISALLOWED_NAMES  # no public name
from pydantic import BaseModel, ConfigDict, Field

from reliable_imports import ReliableImportsError, batch_type_of
from reliable_imports.scaffold import NewFile, draft_for_table, draft_from_file, processor_and_table, write_files

_PROCESSOR = '''\
from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext


class {name}Processor(BaseProcessor):
    """What one item is, and where it goes."""

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return bool(item.source_data)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict:
        raise NotImplementedError("write the item to its table with ctx.upsert")
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
    sample: str | None = Field(
        default=None,
        description="A file like those that are to be imported: the processor and its table are guessed from it.",
    )


class ReliableImportsScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes a defs.yaml that loads, and beside it a processor, named after the folder, perhaps from a sample."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        """Overwrites nothing.

        Raises:
            click.ClickException: there is a processors.py already, or no class can have the folder's name, or the
                params do not go together, or the sample cannot be read.
        """
        params = request.params or ScaffoldParams()
        if params.packages is None:
            packages = [".processors"]
            _write(request.target_path, params)
        elif params.table is None and params.sample is None:
            packages = list(params.packages)
        else:
            raise click.ClickException("table and sample are for a processor that is written; packages hold their own")
        dg.scaffold_component(request, {"packages": packages})


def _write(folder: Path, params: ScaffoldParams) -> None:
    name = _class_name(folder.name)
    module = folder / "processors.py"
    if module.exists():
        raise click.ClickException(
            f"{module} exists and was left as it is; name another folder, or write a defs.yaml beside it by hand"
        )
    try:
        if params.sample is not None:
            draft = draft_from_file(batch_type_of(f"{name}Processor"), params.sample, params.table)
            files = processor_and_table(draft, module)
        elif params.table is not None:
            draft = draft_for_table(batch_type_of(f"{name}Processor"), params.table, ())
            files = processor_and_table(draft, module)
        else:
            files = [NewFile(module, _PROCESSOR.format(name=name))]
        write_files(files, way_out="name another folder")
    except ReliableImportsError as error:
        raise click.ClickException(str(error)) from None


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
