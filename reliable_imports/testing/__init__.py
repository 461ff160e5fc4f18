"""For tests of processors: what becomes of one item, and databases that are thrown away.

plugin      the fixtures, which pytest finds by itself
trying      what `try_item` does
recorded    what stands in for the database where a test has none
server      a PostgreSQL for a run of tests
databases   the databases on it, a new one for each test
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reliable_imports.testing.trying import Tried, Written, try_item

__all__ = ["Tried", "Written", "try_item"]


def __getattr__(name: str) -> Any:
    # pytest loads the plugin, and so this package, in every run of tests, also of people who use neither.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reliable_imports.testing import trying

    return getattr(trying, name)
