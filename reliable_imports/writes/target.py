"""What the catalogue says of a table that is written to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reliable_imports.errors import UnusableTarget
from reliable_imports.writes.values import ColumnType


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        exact_type: with length and domain, as PostgreSQL writes it.
        has_sequence: its default takes a number from a sequence.
        is_always_identity: a value of one's own takes OVERRIDING SYSTEM VALUE.
        is_not_null: by the column, or by its domain.
        modifier: the length, or precision and scale, as the catalogue has it; -1 for none. A domain's counts.
    """

    name: str
    type: ColumnType
    exact_type: str
    has_default: bool
    has_sequence: bool
    is_always_identity: bool
    is_generated: bool
    is_not_null: bool = False
    modifier: int = -1


@dataclass(frozen=True, slots=True)
class IndexPart:
    """One column or expression of a unique index.

    Attributes:
        column: None for an expression.
        sql: quoted, with the columns of the table unqualified.
        collation: the name of one by which different texts may be equal; None for all others.
        equals: the operator that finds two values equal, with its schema.
    """

    column: str | None
    sql: str
    type: ColumnType
    collation: str | None
    equals: str = "pg_catalog.="


@dataclass(frozen=True, slots=True)
class Index:
    """A unique index or constraint.

    Attributes:
        is_primary: the primary key.
        is_readable: this role may read all of its columns.
        finds_by_equality: rows that are equal to it are those that GROUP BY finds equal, but for collations.
        is_immediate: checked row by row; a deferrable constraint is not, and ON CONFLICT cannot use it.
        predicate: the condition of a partial index.
        nulls_are_equal: NULLS NOT DISTINCT.
        reads: the columns that its parts and its predicate read.
        names: what the server calls it where it refuses a row: its own name, or that of its part in a partition.
    """

    name: str
    is_constraint: bool
    is_immediate: bool
    predicate: str | None
    nulls_are_equal: bool
    parts: tuple[IndexPart, ...]
    reads: frozenset[str]
    is_primary: bool = False
    is_readable: bool = False
    finds_by_equality: bool = False
    names: frozenset[str] = frozenset()

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(part.column for part in self.parts if part.column is not None)

    @property
    def read_by_parts(self) -> frozenset[str]:
        """The columns that a key is made of, and perhaps some that only the predicate reads."""
        expressions = [part.sql for part in self.parts if part.column is None]
        read = {name for name in self.reads if any(name.replace('"', '""') in sql for sql in expressions)}
        return self.columns | read

    @property
    def is_plain(self) -> bool:
        """Whether it is over columns alone, and over all rows."""
        return self.predicate is None and all(part.column is not None for part in self.parts)

    @property
    def can_be_asked(self) -> bool:
        """Whether a query finds the rows that are equal to it."""
        return (
            self.is_plain
            and self.is_readable
            and self.finds_by_equality
            and not self.nulls_are_equal
            and all(part.collation is None for part in self.parts)
        )


@dataclass(frozen=True, slots=True)
class ReferencePair:
    """A column that refers to one of the parent's, and the operator that finds them equal, with its schema."""

    column: str
    parent_column: str
    operator: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key whose parents this role can see.

    Attributes:
        names: what the server calls it where it refuses a row; see `Index`.
        parent: schema and name, quoted.
        is_full: MATCH FULL, so that either all of its columns are NULL or none.
    """

    name: str
    names: frozenset[str]
    parent: str
    is_full: bool
    pairs: tuple[ReferencePair, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK of the table; *sql* has the columns unqualified."""

    name: str
    sql: str
    reads: frozenset[str]


@dataclass(frozen=True, slots=True)
class Target:
    """A table or view that rows are written to.

    Attributes:
        name: schema and name, quoted.
        root: of a partition, the table that it belongs to; else the same.
        version: changes when somebody alters the table.
        has_other_checks: it refuses rows for more than NOT NULL and *checks*, whatever stands: for domains, CHECKs of
            whole rows, and what only a partition wants.
        has_exclusions: exclusion constraints, or unique indexes that only a partition has.
        has_triggers: of the team's own, which may change or leave out rows.
        single_rows_for: what makes it possible that rows which arrive in one statement are not what single statements
            would leave, in words; empty if nothing does.
        has_deferrable: constraints that may be checked later.
        takes_plain_inserts: ON CONFLICT is not for it: a view with triggers, a table with rules.
    """

    oid: int
    name: str
    root: str
    version: str
    is_view: bool
    columns: Mapping[str, Column]
    indexes: Sequence[Index]
    references: Sequence[Reference]
    checks: Sequence[Check]
    has_other_checks: bool
    has_exclusions: bool
    single_rows_for: tuple[str, ...]
    has_triggers: bool
    has_deferrable: bool
    takes_plain_inserts: bool
    has_rules: bool

    def column_to_write(self, name: str) -> Column:
        """
        Raises:
            UnusableTarget: there is no such column, or the database makes up its values.
        """
        column = self.columns.get(name)
        if column is None:
            close = difflib.get_close_matches(name, self.columns, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(self.columns)}"
            raise UnusableTarget(f"table {self.name} has no column {name}; {hint}")
        if column.is_generated:
            raise UnusableTarget(f"column {name} of table {self.name} is generated by the database; do not write it")
        return column

    def bases_of(self, index: Index) -> frozenset[str]:
        """The columns that decide what a row is to the index: all, if it reads a generated one."""
        read = index.reads | index.columns
        return frozenset(self.columns) if any(self.columns[name].is_generated for name in read) else read

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Target:
        """From what `describe_target` answers."""
        columns = [_column(each) for each in described["columns"] or ()]
        plain_only = described["has_instead_triggers"] or (described["has_rules"] and not described["is_view"])
        looks_around = {
            "triggers for each row": described["has_row_triggers"],
            "row level security": described["has_row_security"],
            "a reference of the table to itself": described["refers_to_itself"],
            "functions in constraints, defaults or indexes": described["calls_functions"],
            "a view": described["is_view"],
            "deferrable constraints": described["has_deferrable"],
            "rules": plain_only,
        }
        return cls(
            oid=described["oid"],
            name=described["name"],
            root=described["root"],
            version=described["version"],
            is_view=described["is_view"],
            columns={column.name: column for column in columns},
            indexes=[_index(each) for each in described["indexes"]],
            references=[_reference(each) for each in described["references"]],
            checks=[Check(each["name"], each["sql"], frozenset(each["reads"] or ())) for each in described["checks"]],
            has_other_checks=described["has_other_checks"],
            has_exclusions=described["has_exclusions"],
            has_triggers=described["has_row_triggers"],
            single_rows_for=tuple(words for words, is_there in looks_around.items() if is_there),
            has_deferrable=described["has_deferrable"],
            takes_plain_inserts=plain_only,
            has_rules=plain_only and not described["has_instead_triggers"],
        )


def found_target(table: str, described: Mapping[str, Any] | None) -> Target:
    """What `describe_target` has said of a table.

    Raises:
        UnusableTarget: there is no such table.
    """
    if described is None:
        raise UnusableTarget(
            f"there is no table {table}, or this role may not use its schema; create it, or correct its name"
        )
    return Target.of(described)


def _column(described: Mapping[str, Any]) -> Column:
    return Column(
        name=described["name"],
        type=ColumnType.of(described["type"]),
        exact_type=described["exact_type"],
        has_default=described["has_default"],
        has_sequence=described["has_sequence"],
        is_always_identity=described["is_always_identity"],
        is_generated=described["is_generated"],
        is_not_null=described["is_not_null"],
        modifier=described["modifier"],
    )


def _reference(described: Mapping[str, Any]) -> Reference:
    pairs = tuple(ReferencePair(**pair) for pair in described["pairs"])
    names = frozenset(described["names"])
    return Reference(described["name"], names, described["parent"], described["is_full"], pairs)


def _index(described: Mapping[str, Any]) -> Index:
    return Index(
        name=described["name"],
        is_constraint=described["is_constraint"],
        is_immediate=described["is_immediate"],
        predicate=described["predicate"],
        nulls_are_equal=described["nulls_are_equal"],
        parts=tuple(
            IndexPart(part["column"], part["sql"], ColumnType.of(part["type"]), part["collation"], part["equals"])
            for part in described["parts"]
        ),
        reads=frozenset(described["reads"]),
        is_primary=described["is_primary"],
        is_readable=described["is_readable"],
        finds_by_equality=described["finds_by_equality"],
        names=frozenset(described["names"]),
    )
