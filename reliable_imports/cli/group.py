"""The group of all commands: our own, and those that installed packages add."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import click

from reliable_imports.errors import ConfigurationError

ENTRY_POINTS = "reliable_imports.commands"
"""The entry point group by which a package adds commands: each names a click command."""

# What `--help` says of them, so that it need not import Dagster.
_KNOWN = {
    "demo": "Run the example from an empty database to reprocessed failures.",
    "dev": "Open Dagster's UI on this project.",
}


class CommandGroup(click.Group):
    """Imports an added command only when it is called; ours cannot be replaced."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_added()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = _added().get(cmd_name)
        return None if entry is None else _load(entry)

    def is_own(self, name: str | None) -> bool:
        return name in self.commands

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        added = _added()
        rows = []
        for name in self.list_commands(ctx):
            own = self.commands.get(name)
            if own is not None:
                rows.append((name, own.get_short_help_str(limit=200)))
            else:
                rows.append((name, _KNOWN.get(name) or f"From {_distribution(added[name])}."))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _added() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _load(entry: EntryPoint) -> click.Command:
    try:
        command = entry.load()
    except Exception as error:  # whatever another package raises while it is imported
        raise ConfigurationError(
            f"command {entry.name!r} of {_distribution(entry)} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(command, click.Command):
        raise ConfigurationError(f"command {entry.name!r} of {_distribution(entry)} is no click command: {entry.value}")
    return command


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
