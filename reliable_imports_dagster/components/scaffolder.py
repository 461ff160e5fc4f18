"""What `dg scaffold defs` writes for a component."""

import re

import click
import dagster as dg

_SKELETON = '''\
from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext


class {name}Processor(BaseProcessor):
    """What one item is, and where it goes."""

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return bool(item.source_data)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict:
        raise NotImplementedError("write the item to its table with ctx.upsert")
'''


class ReliableImportsScaffolder(dg.Scaffolder):
    """Writes a defs.yaml that loads, and beside it a processor to fill in, named after the folder."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Overwrites nothing.

        Raises:
            click.ClickException: there is a processors.py already, or no class can have the folder's name.
        """
        folder = request.target_path
        name = _class_name(folder.name)
        module = folder / "processors.py"
        try:
            with module.open("x", encoding="utf-8") as file:
                file.write(_SKELETON.format(name=name))
        except FileExistsError:
            raise click.ClickException(
                f"{module} exists and was left as it is; name another folder, or write a defs.yaml beside it by hand"
            ) from None
        dg.scaffold_component(request, {"packages": [".processors"]})


def _class_name(folder: str) -> str:
    """`customer-data` is CustomerData."""
    name = "".join(word[0].upper() + word[1:] for word in re.split(r"[\W_]+", folder) if word)
    if not name.isidentifier() or "." in folder:
        raise click.ClickException(
            f"no processor can be named after the folder {folder!r}; "
            "name it with letters, digits and _, not beginning with a digit, such as customer_data"
        )
    return name
