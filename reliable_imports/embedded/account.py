"""The account that the server runs as: our own, or another one where PostgreSQL refuses ours."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reliable_imports.embedded import namespace
from reliable_imports.errors import EmbeddedServerError

# Accounts that every system has; root's server runs as the first one that it may become.
_FOR_ROOT = ("nobody", "postgres", "daemon")
# The server outlives us and its superuser can read its environment, so it gets none of our secrets; and C avoids
# every failure over locales that are not installed.
_INHERITED = ("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Account:
    """How to run a program as the server's account.

    Attributes:
        name: for messages.
        uid: None if the account is our own.
        gid: None if the account is our own.
        prefix: a command that goes before every command.
    """

    name: str
    uid: int | None = None
    gid: int | None = None
    prefix: tuple[str, ...] = ()

    @property
    def is_our_own(self) -> bool:
        """Whether it has our rights to files."""
        return self.uid is None

    def run(
        self,
        command: Sequence[str | Path],
        *,
        stdin: int = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.PIPE,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* to its end, away from our terminal, with an environment that holds nothing of ours."""
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=pass_fds,
            env={**environment, "LC_ALL": "C"},
            cwd="/",
            start_new_session=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    def give(self, target: int | Path) -> None:
        """Make the account the owner of a path or an open file."""
        if self.uid is not None and self.gid is not None:
            os.chown(target, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", folder]).returncode == 0

    def can_run(self, program: Path) -> bool:
        try:
            return self.run([program, "--version"]).returncode == 0
        except PermissionError:
            return False


def find_account() -> Account:
    """Our own account if PostgreSQL accepts it, else one that we may use in its place.

    Raises:
        EmbeddedServerError: nothing that PostgreSQL accepts is allowed here.
    """
    me = os.geteuid()
    if me == 0:
        others = [account for name in _FOR_ROOT if (account := _by_name(name)) is not None]
        candidates = [*others, *_in_namespace()]
    elif _is_known(me):
        return Account(pwd.getpwuid(me).pw_name)
    else:
        candidates = _in_namespace()
    for candidate in candidates:
        if _is_allowed(candidate):
            return candidate
    refused = "root" if me == 0 else f"uid {me}, which has no account on this machine,"
    raise EmbeddedServerError(
        f"PostgreSQL does not run as {refused} and becoming another account is not allowed here; "
        "run as an ordinary user"
    )


def _by_name(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _in_namespace() -> list[Account]:
    known = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    known.sort(key=lambda entry: entry.pw_name != "nobody")
    return [
        Account(
            f"{entry.pw_name} in a user namespace",
            prefix=(sys.executable, "-I", "-S", namespace.__file__, str(entry.pw_uid), str(entry.pw_gid)),
        )
        for entry in known[:1]
    ]


def _is_allowed(account: Account) -> bool:
    try:
        return account.run(["/bin/sh", "-c", ":"]).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
