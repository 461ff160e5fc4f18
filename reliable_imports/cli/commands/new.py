"""`new`: writes a processor, its table and a test, from a sample."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reliable_imports.cli.invocation import Invocation, pass_invocation, processor_options, shared_options
from reliable_imports.cli.output import Column, Output
from reliable_imports.cli.progress import sampling
from reliable_imports.cli.text import count, number
from reliable_imports.settings import Settings

if TYPE_CHECKING:
    from reliable_imports.scaffold.columns import Guess
    from reliable_imports.scaffold.draft import Draft

_FIRST_WITH_EQUAL_NULLS = 150_000


@click.command(short_help="Write a processor, its table and a test, from a sample.")
@click.argument("batch_type", metavar="TYPE")
@click.option("--from", "file", metavar="FILE", help="A sample: .csv, .tsv, .json, .jsonl, .xlsx, .parquet, or text.")
@click.option("--from-table", metavar="SCHEMA.NAME", help="A table that exists; a sample is not needed then.")
@click.option("--table", metavar="SCHEMA.NAME", help="The table that is to be made; else named as the type.")
@click.option(
    "--into", type=click.Path(path_type=Path), metavar="FOLDER", help="The package that it becomes a part of."
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
@processor_options
@shared_options
@pass_invocation
def new(
    invocation: Invocation,
    batch_type: str,
    file: str | None,
    from_table: str | None,
    table: str | None,
    into: Path | None,
    force: bool,
) -> None:
    """Write what imports files like FILE: a processor TYPE, the SQL of its table, and a test of its first rows.

    FILE is read to its end, or its first 100 MB. What was guessed is said, with how many rows agree. The table is made
    by the first import: `reliable-imports import FILE --as TYPE`.

    With --from-table the processor is for a table that exists, and a sample only says how its files are read.
    """
    from reliable_imports.scaffold.files import files_of, find_place, is_left_out, write_files

    if from_table is None and file is None:
        raise click.UsageError("give a sample with --from FILE, or a table that exists with --from-table SCHEMA.NAME")
    if from_table is not None and table is not None:
        raise click.UsageError("--table is for a table that is to be made; give it or --from-table")
    settings = Settings.from_environment()
    place = find_place(into, settings, Path.cwd())
    draft = _draft(invocation, batch_type, file, from_table, table)
    has_to_be_named = is_left_out(place)
    written = write_files(files_of(draft, place), way_out="--force writes over it", force=force)
    output = invocation.output
    output.document(_document(draft, written))
    _tell(output, draft)
    for path in written:
        output.say(f"wrote {_shown(path)}")
    if has_to_be_named:
        output.say(f'add "{place.package}" to processors in [tool.reliable_imports] of pyproject.toml')
    what_for = "make the table and import the file" if from_table is None else "import a file"
    named = shlex.quote(file) if file is not None else "FILE"
    next_steps = [(f"reliable-imports import {named} --as {batch_type}", what_for)]
    if (test := place.project / "tests" / f"test_{batch_type}.py") in written:
        next_steps.append((f"pytest {_shown(test)}", "test its first rows"))
    output.commands(next_steps)


def _draft(
    invocation: Invocation, batch_type: str, file: str | None, from_table: str | None, table: str | None
) -> Draft:
    from reliable_imports.scaffold.draft import draft_for_table, draft_from_file

    if from_table is None:
        assert file is not None
        may_use_all = _nulls_can_be_equal(invocation)
        return draft_from_file(batch_type, file, table, may_use_all=may_use_all, watch=sampling)
    from reliable_imports.scaffold.tables import columns_of_table

    columns = columns_of_table(invocation.manager().dsn, from_table)
    return draft_for_table(batch_type, from_table, columns, file, watch=sampling)


def _nulls_can_be_equal(invocation: Invocation) -> bool:
    """Whether the server is PostgreSQL 15 or newer; the embedded one is, and one that cannot be asked may be."""
    import psycopg2

    from reliable_imports.postgres.connect import connect

    dsn = invocation.dsn or Settings.from_environment().dsn
    if dsn is None:
        return True
    try:
        with connect(dsn) as connection:
            return connection.server_version >= _FIRST_WITH_EQUAL_NULLS
    except psycopg2.Error:
        return True


def _tell(output: Output, draft: Draft) -> None:
    sample = draft.sample
    if sample is None:
        return
    rows = f"all {count(sample.rows, 'row')}" if sample.is_whole else f"the first {count(sample.rows, 'row')}"
    facts = [("read", f"{rows} of {draft.file}"), *sample.remarks]
    for kind, times in sample.problems.most_common():
        fate = "this item will fail" if times == 1 else f"{sample.said[kind]}, and so on; these items will fail"
        facts.append(("cannot be read", f"{count(times, 'row')}: {sample.said[kind] if times == 1 else kind}; {fate}"))
    facts += [("note", each) for each in sample.warnings]
    facts += _null_facts(draft)
    if draft.key is not None:
        facts.append(("key", f"{', '.join(draft.key.columns)}: {draft.key.why}"))
    output.facts(facts)
    output.table(
        [
            Column("column", is_name=True),
            Column("type", is_whole=True),
            Column("rows that agree", is_number=True),
            Column("source", dispensable=1),
            Column("what was seen", dispensable=2),
        ],
        [[each.name, each.sql, _agreeing(each), each.column.source, _seen(each)] for each in draft.columns],
    )


def _null_facts(draft: Draft) -> list[tuple[str, str]]:
    from reliable_imports.scaffold.draft import counted_tokens

    counted = counted_tokens(draft)
    told = [f"{token or 'empty'} ({number(counted[token])})" for token in sorted(draft.null_tokens)]
    return [("no value", ", ".join(told))] if told else []


def _agreeing(each: Guess) -> str:
    column = each.column
    return f"{number(column.values)} of {number(column.values)}" if column.values else "none"


def _seen(each: Guess) -> str:
    told = []
    if each.has_nulls:
        nulls = each.column.nulls + each.column.empty + sum(each.column.tokens[token] for token in each.tokens)
        told.append(f"{number(nulls)} without a value")
    if each.kind.form:
        told.append(f"written {each.kind.form}")
    if each.kind.name == "decimal comma":
        told.append("decimal comma")
    if each.remark:
        told.append(each.remark)
    return "; ".join(told)


def _document(draft: Draft, written: list[Path]) -> dict[str, Any]:
    sample = draft.sample
    return {
        "batch_type": draft.batch_type,
        "table": draft.table,
        "files": [str(path) for path in written],
        "rows": None if sample is None else sample.rows,
        "is_whole": None if sample is None else sample.is_whole,
        "layout": {} if sample is None else dict(sample.remarks),
        "unreadable": {} if sample is None else dict(sample.problems),
        "warnings": [] if sample is None else sample.warnings,
        "key": None if draft.key is None else {"columns": list(draft.key.columns), "why": draft.key.why},
        "null_tokens": sorted(draft.null_tokens),
        "columns": [
            {
                "column": each.name,
                "source": each.column.source,
                "type": each.sql,
                "values": each.column.values,
                "seen": _seen(each),
            }
            for each in draft.columns
        ],
    }


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
