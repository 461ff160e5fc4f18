"""Programs and data put where the server's account can get at them.

Only root needs this: its server runs as another account, for which everything under /root (mode 0700) is out of reach,
a virtual environment as well as the default home.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from reliable_imports.embedded.account import Account
from reliable_imports.embedded.binaries import Binaries
from reliable_imports.embedded.lock import exclusive
from reliable_imports.errors import EmbeddedServerError

# Anybody may pass through, and only root can create entries, so that nobody can plant one.
ROOT_STATE = Path("/var/lib/reliable-imports")


def reachable_binaries(binaries: Binaries, account: Account) -> Binaries:
    """*binaries*, or a copy of them that is made once (about 40 MB) if *account* cannot run them where they are."""
    if account.is_our_own or account.can_run(binaries.postgres):
        return binaries
    package = binaries.package
    if package is None:
        raise EmbeddedServerError(f"the account {account.name!r} cannot run {binaries.postgres}")
    build = binaries.postgres.stat()
    copy = _root_state() / f"{package.name}-{binaries.version}-{build.st_mtime_ns:x}-{build.st_size:x}"
    with exclusive(ROOT_STATE / "lock"):
        if not copy.exists():
            _copy_package(package, copy)
    return Binaries(copy / package.name / binaries.folder.relative_to(package), package=copy / package.name)


def _copy_package(package: Path, copy: Path) -> None:
    half_made = copy.with_name(copy.name + ".new")
    shutil.rmtree(half_made, ignore_errors=True)  # a killed process left it
    # The programs look for bundled libraries in the folder beside their package.
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            leave_out = shutil.ignore_patterns("__pycache__", "include")
            shutil.copytree(part, half_made / part.name, symlinks=True, ignore=leave_out)
    subprocess.run(["chmod", "-R", "a+rX", half_made], check=True)
    half_made.rename(copy)


def reachable_data(folder: Path, name: str, account: Account, *, stop_server: Callable[[Path], None]) -> Path:
    """Where the data called *name* of the server in *folder* is, or should be created.

    In *folder* itself if *account* can get there; else in a folder of root's, and a link in *folder* says where.
    Asked again, the answer is the same, also after a crash between the link and the data.

    Args:
        stop_server: stops the server that runs in a data folder, if one does.
    """
    data = folder / name
    if data.is_symlink():
        return Path(os.readlink(data))
    if account.is_our_own or data.exists() or account.can_enter(folder):
        return data
    if _let_others_pass(folder.parent, but_for=folder) and account.can_enter(folder):
        return data
    elsewhere = _root_state() / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16] / name
    elsewhere.parent.mkdir(exist_ok=True)
    elsewhere.parent.chmod(0o711)
    if elsewhere.exists():
        # The home that it belonged to was removed, and with it the password. A new home starts empty; the old data
        # is only set aside, because the home may have been a disk that is not mounted now.
        stop_server(elsewhere)
        elsewhere.rename(elsewhere.with_name(f"{name}.set-aside-{secrets.token_hex(4)}"))
    data.symlink_to(elsewhere)
    return elsewhere


def check_reach(data: Path, account: Account) -> None:
    """Raise if *account* cannot get to *data*, whose folder may have been closed since it was made."""
    if not account.is_our_own and not account.can_enter(data):
        raise EmbeddedServerError(
            f"the embedded PostgreSQL runs as the account {account.name!r}, which cannot reach its data in {data}: "
            "a folder above it is closed to others (`chmod o+x` opens it)"
        )


def _let_others_pass(home: Path, *, but_for: Path) -> bool:
    """Allow others through *home* (not to list it) if it is ours and holds nothing but the server's folder."""
    mode = home.stat()
    if mode.st_uid != os.geteuid() or set(home.iterdir()) - {but_for}:
        return False
    home.chmod(mode.st_mode & 0o7777 | 0o011)
    return True


def _root_state() -> Path:
    ROOT_STATE.mkdir(parents=True, exist_ok=True)
    ROOT_STATE.chmod(0o755)  # whatever the umask is
    return ROOT_STATE
