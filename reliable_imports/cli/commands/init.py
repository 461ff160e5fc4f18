"""`init`: makes a project in a folder."""

from __future__ import annotations

import re
from pathlib import Path

import click

from reliable_imports.cli.invocation import Invocation, pass_invocation, shared_options


@click.command(short_help="Make a project in a folder.")
@click.argument("folder", metavar="[FOLDER]", type=click.Path(file_okay=False, path_type=Path), default=Path("."))
@shared_options
@pass_invocation
def init(invocation: Invocation, folder: Path) -> None:
    """Make a project in FOLDER, or here: settings, a package for processors, definitions for Dagster, a test.

    `reliable-imports`, `dagster dev` and `dg check defs` accept it as it is. Files that are there are left as they are:
    if one of them is in the way, nothing is written.
    """
    from reliable_imports.scaffold.files import project_files, write_files

    target = folder.resolve()
    name = re.sub(r"[^a-z0-9]+", "-", target.name.lower()).strip("-") or "imports"
    files = project_files(target, name)
    written = write_files(files, way_out="`reliable-imports new` adds to a project that is there")
    output = invocation.output
    output.document({"folder": str(target), "files": [str(path) for path in written]})
    for path in written:
        output.say(f"wrote {folder / path.relative_to(target)}")
    begin = "" if target == Path.cwd().resolve() else f"cd {folder} && "
    output.commands(
        [
            (f"{begin}reliable-imports new TYPE --from FILE", "write a processor, its table and a test, from a sample"),
            ("reliable-imports import FILE --as TYPE", "import a file"),
            ("reliable-imports dev", "open Dagster's UI"),
        ]
    )
