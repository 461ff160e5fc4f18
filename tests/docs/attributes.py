"""The tables of a processor's attributes in docs/reference.md, made from the one place where each is declared.

`python -m tests.docs.attributes` writes them. What an attribute does is its docstring, its default is its value, and
what it must be stands with its check in `reliable_imports/processor/declarations.py`.
"""

from __future__ import annotations

import ast
import inspect
import re
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from reliable_imports.processor.declarations import ATTRIBUTES, Attribute

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"
_PLACE = "<!-- attributes of {name} -->\n"
_END = "<!-- end -->\n"


def written(text: str) -> str:
    """*text* of docs/reference.md with the tables as the declarations have them."""
    for kind, attributes in ATTRIBUTES.items():
        place = _PLACE.format(name=kind.__name__)
        before, found, rest = text.partition(place)
        assert found, f"docs/reference.md has no place for the attributes of {kind.__name__}"
        after = rest[rest.index(_END) :]
        text = f"{before}{place}\n{_table(kind, attributes)}\n{after}"
    return text


def _table(kind: type, attributes: tuple[Attribute, ...]) -> str:
    docs = _docstrings(kind)
    rows = ["| attribute | means | must be | default |", "|---|---|---|---|"]
    for each in attributes:
        default = each.default or _shown(getattr(kind, each.name))
        rows.append(f"| `{each.name}` | {docs[each.name]} | {_code(each.words)} | {default} |")
    return "\n".join(rows) + "\n"


def _docstrings(kind: type) -> dict[str, str]:
    """The text below each attribute of the class, in one line."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    found = {}
    for node, following in pairwise(body):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[node.target.id] = " ".join(str(following.value.value).split())
    return found


def _code(words: str) -> str:
    """Examples as code: `such as ("id",)`."""
    return re.sub(r"(such as |like )(.+)", r"\1`\2`", words)


def _shown(value: object) -> str:
    match value:
        case None | () | frozenset() if not value:
            return "none"
        case {} if not value:
            return "none"
        case timedelta():
            return "one minute" if value == timedelta(minutes=1) else f"{value.total_seconds():g} s"
        case tuple():
            return ", ".join(f"`{each.__name__}`" for each in value)
        case str():
            return f"`{value}`"
        case bool():
            return f"`{value}`"
        case _:
            return str(value)


if __name__ == "__main__":
    REFERENCE.write_text(written(REFERENCE.read_text()))
