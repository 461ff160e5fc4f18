"""Which of a table's unique indexes says which row an item is about: as a processor declares it, or as it is chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reliable_imports.errors import UnusableTarget
from reliable_imports.writes.identifiers import quoted
from reliable_imports.writes.request import UniqueIndex
from reliable_imports.writes.target import Index, Target


def find_index(target: Target, key: tuple[str, ...] | UniqueIndex) -> Index | None:
    """The unique index that ON CONFLICT is to use; None for a view, behind which the server looks itself.

    Raises:
        UnusableTarget: there is none; says how to make one.
    """
    if target.is_view:
        return None
    if isinstance(key, UniqueIndex):
        found = [index for index in target.indexes if index.name == key.name]
        if not found:
            known = ", ".join(index.name for index in target.indexes) or "none"
            raise UnusableTarget(f"table {target.name} has no unique index {key.name}; its unique indexes: {known}")
    else:
        for name in key:
            target.column_to_write(name)
        found = _indexes_over(target, frozenset(key))
        columns = ", ".join(map(quoted, key))
        if not found:
            raise UnusableTarget(
                f"table {target.name} has no unique index on ({columns}), which an upsert by that key needs: "
                f"CREATE UNIQUE INDEX ON {target.name} ({columns}); or name another key"
            )
        if len(found) > 1 and not found[0].is_plain:
            names = ", ".join(index.name for index in found)
            raise UnusableTarget(
                f"table {target.name} has several partial or expression indexes over ({columns}): {names}; "
                f"name one of them, as in key = UniqueIndex({found[0].name!r})"
            )
    deferrable = [index for index in found if not index.is_immediate]
    # Where the columns alone name the index, the server takes a deferrable one along, and refuses it.
    usable = [index for index in found if index.is_immediate and (index.is_constraint or not deferrable)]
    if not usable:
        columns = ", ".join(part.sql for part in found[0].parts)
        raise UnusableTarget(
            f"the unique constraint {deferrable[0].name} of table {target.name} is deferrable, and ON CONFLICT cannot "
            f"use it; make it NOT DEFERRABLE, or add one that is: ALTER TABLE {target.name} ADD UNIQUE ({columns})"
        )
    return usable[0]


def choose_key(table: str, target: Target) -> tuple[str, ...]:
    """The primary key; or, where the database makes that up (an identity, a sequence, another default), the one other
    unique index; or the primary key all the same, if there is no other, and then every item must have it.

    Indexes that are partial, deferrable, or over expressions or generated columns are never chosen.

    Args:
        table: as the processor calls it.

    Raises:
        UnusableTarget: there is none, or there are several; the message says what to declare.
    """
    usable = [
        index
        for index in target.indexes
        if index.is_plain
        and index.is_immediate
        and not any(target.columns[name].is_generated for name in index.columns)
    ]
    primary = next((index for index in usable if index.is_primary), None)
    if primary is not None and not _is_made_up(primary, target):
        return _columns(primary)
    others = list(dict.fromkeys(_columns(each) for each in usable if not _is_made_up(each, target)))
    if len(others) == 1:
        return others[0]
    if others:
        named = " or ".join(f"key = {_as_declared(each)}" for each in others)
        raise UnusableTarget(f"table {table} has several unique indexes that could be its key; declare {named}")
    if primary is not None:
        return _columns(primary)
    if target.is_view:
        what, advice = "view", "declare the columns that are unique in the table below it, as in key = (...)"
    else:
        what, advice = "table", "make one, or declare the key, as in key = (...)"
    raise UnusableTarget(
        f"{what} {table} has no unique index that could be its key, and a file that is imported twice would add its "
        f"rows twice; {advice}, or declare key = () to insert every row"
    )


def check_rivals(table: str, target: Target, key: Sequence[str], names: Collection[str]) -> None:
    """See that a key which was chosen is the only one that items with fields of these *names* have.

    Raises:
        UnusableTarget: they also have the primary key that the database makes up elsewhere.
    """
    for index in target.indexes:
        primary = _columns(index)
        if index.is_primary and index.is_plain and primary != tuple(key) and set(primary) <= set(names):
            raise UnusableTarget(
                f"the items have both {' and '.join(primary)}, the primary key of table {table}, and "
                f"{' and '.join(key)}, which is unique; declare key = {_as_declared(primary)} or "
                f"key = {_as_declared(key)}"
            )


def _indexes_over(target: Target, key: frozenset[str]) -> list[Index]:
    """Plain ones over exactly these columns; if there are none, partial and expression ones."""
    plain = [index for index in target.indexes if index.is_plain and index.columns == key]
    return plain or [
        index
        for index in target.indexes
        if not index.is_plain
        and index.columns <= key
        and key <= index.reads
        and (index.predicate is not None or index.reads == key)
        and (any(part.column is None for part in index.parts) or index.columns == key)
    ]


def _is_made_up(index: Index, target: Target) -> bool:
    columns = [target.columns[name] for name in _columns(index)]
    return any(column.has_sequence for column in columns) or all(column.has_default for column in columns)


def _columns(index: Index) -> tuple[str, ...]:
    return tuple(part.column for part in index.parts if part.column is not None)


def _as_declared(columns: Sequence[str]) -> str:
    inner = ", ".join(f'"{name}"' for name in columns)
    return f"({inner},)" if len(columns) == 1 else f"({inner})"
