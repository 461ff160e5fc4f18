"""The command `reliable-imports dev`. Each module imports only from those below it.

command  Dagster's UI and daemon on the product's own database
project  the definitions of a project that has none of its own
"""

from reliable_imports_dagster.dev.command import dev

__all__ = ["dev"]
