"""The group of all commands: our own, and those that installed packages add."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

import click

from reliable_imports.errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from click.shell_completion import CompletionItem

ENTRY_POINTS = "reliable_imports.commands"
"""The entry point group by which a package adds commands: each names a click command, and the extras that it needs."""

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
        if entry is None:
            return None
        missing = _missing(entry)
        return _not_installed(entry, missing) if missing else _load(entry)

    def is_own(self, name: str | None) -> bool:
        return name in self.commands

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self._short_helps(ctx))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        named = [each for each in self._short_helps(ctx) if each[0].startswith(incomplete)]
        commands = [CompletionItem(name, help=told) for name, told in named]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def _short_helps(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Each command with a line about it; none is loaded for that."""
        added = _added()
        helps = []
        for name in self.list_commands(ctx):
            own = self.commands.get(name)
            if own is not None:
                helps.append((name, own.get_short_help_str(limit=200)))
            else:
                helps.append((name, _KNOWN.get(name) or f"From {_distribution(added[name])}."))
        return helps


def _added() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # our own commands do without: it takes a while to load

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _missing(entry: EntryPoint) -> list[str]:
    """The distributions that the command's extras ask for, and that are not installed."""
    from importlib.metadata import PackageNotFoundError, version

    wanted = [] if entry.dist is None else entry.dist.requires or []
    missing = []
    for requirement in wanted:
        name, _, condition = requirement.partition(";")
        extra = re.search(r"""extra *== *["']([^"']+)""", condition)
        found = re.match(r"[\w.-]+", name)
        if found is None or extra is None or extra[1] not in entry.extras:
            continue
        try:
            version(found[0])
        except PackageNotFoundError:
            missing.append(found[0])
    return missing


def _not_installed(entry: EntryPoint, missing: list[str]) -> click.Command:
    """Stands in for a command whose extras are missing, so that it can be asked for its help and says what to do."""
    told = (
        f"{entry.name} needs {', '.join(missing)}, not installed here: "
        f"pip install '{_distribution(entry)}[{','.join(entry.extras)}]'"
    )

    def refuse() -> NoReturn:
        raise ConfigurationError(told)

    return click.Command(
        entry.name,
        callback=refuse,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        help=f"{_KNOWN.get(entry.name, '')}\n\n{told}",
    )


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
