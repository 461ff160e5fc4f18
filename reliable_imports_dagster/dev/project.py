"""The definitions of a project that has none of its own: all processors that its settings name."""

import dagster as dg

from reliable_imports.settings import Settings
from reliable_imports_dagster.definitions import build_reliable_imports_defs

# Loaded by `reliable-imports dev` in the project's folder, and by what it starts.
defs: dg.Definitions = build_reliable_imports_defs(Settings.from_environment().processors)
