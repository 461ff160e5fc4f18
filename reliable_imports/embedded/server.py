"""The embedded PostgreSQL of one home folder."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from reliable_imports.embedded.account import Account, find_account
from reliable_imports.embedded.binaries import Binaries, find_binaries
from reliable_imports.embedded.cluster import ClusterMaker
from reliable_imports.embedded.launch import StopMode, launch, stop, wait_until_ready
from reliable_imports.embedded.lock import exclusive
from reliable_imports.embedded.ports import free_port, is_free
from reliable_imports.embedded.problems import (
    FullDisk,
    is_port_taken,
    is_still_going_down,
    server_failure,
    system_errors_explained,
)
from reliable_imports.embedded.process import ServerProcess, read_process
from reliable_imports.embedded.reach import check_reach, reachable_binaries, reachable_data
from reliable_imports.embedded.reclaim import reclaim_space
from reliable_imports.embedded.reserve import keep_reserve, release_reserve
from reliable_imports.errors import EmbeddedServerError

DURABLE: Mapping[str, str] = MappingProxyType({"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"})
"""What is committed survives a power failure."""

THROW_AWAY: Mapping[str, str] = MappingProxyType({"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"})
"""For tests: fast, and a power failure may leave nothing of the data; killed processes lose nothing all the same."""

_DATABASE = "reliable_imports"

# Not the name of our schema: "$user" stands first in a search_path, and a team's own tables would land among ours.
# The role is the server's superuser: the server is its owner's alone, whoever reads the password file owns the data
# anyway, and a second role would only be one more secret.
_ROLE = "importer"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How the embedded server is now.

    Attributes:
        pid: None if it does not run.
        port: the one that it listens on, or, if it does not run, last listened on; None if it never ran.
        data: its data folder; None if there is none yet.
        version: PostgreSQL's version that the data belongs to, as `18.6` (`18` where the programs are of another);
            None if there is no data yet.
    """

    running: bool
    pid: int | None
    port: int | None
    data: Path | None
    version: str | None


class EmbeddedPostgres:
    """A private PostgreSQL that keeps its data in *home* and outlives the process that started it.

    Any number of processes of one account may use it at once, and only that account: it listens on 127.0.0.1 and wants
    a generated password, which is in a file that only the account can read. Started by root it runs as another
    account, because PostgreSQL refuses root.

    Args:
        home: its folder; everything of the server is in `home/postgres`, except where root's server cannot get there:
            then the data is in a folder of `/var/lib/reliable-imports`, which a link in `home/postgres` names.
        settings: PostgreSQL's settings by name; they take effect when this object starts the server.
        port: wanted when this object starts the server; by default the one it had before, else any free one.
        binaries: PostgreSQL's programs; by default the best that are found.
    """

    def __init__(
        self,
        home: Path,
        *,
        settings: Mapping[str, str] = DURABLE,
        port: int | None = None,
        binaries: Binaries | None = None,
    ) -> None:
        self.home = Path(os.path.realpath(Path(home).expanduser()))
        self._settings = dict(settings)
        self._wanted_port = port
        self._given_binaries = binaries
        self._folder = self.home / "postgres"

    def start(self) -> str:
        """Start the server if it does not run, and return the DSN of its database `reliable_imports`.

        May be called at any time and by several processes at once. The first start makes the database; killed
        half-way, it leaves nothing that the next start minds.

        Raises:
            EmbeddedServerError: it cannot be started; the message says why and what to do.
        """
        with system_errors_explained(self.home):
            self._check_owner()
            if self._running() is None:
                self._make_folder()
                with exclusive(self._folder / "lock") as lock:
                    process = self._running_or_starting() or self._launch(lock)
                    self._write("port", str(process.port))
        return self.dsn()

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server if it runs, and return when it has ended.

        Args:
            mode: `fast` ends all sessions and shuts down in order; `smart` waits for the sessions to end;
                `immediate` is as a crash, from which the next start recovers.

        Raises:
            EmbeddedServerError: it runs on after a minute, or is not ours to stop.
        """
        with system_errors_explained(self.home):
            if not self._check_owner():
                return
            with exclusive(self._folder / "lock"):
                data = self._data()
                if data is not None:
                    stop(data, mode)

    def status(self) -> ServerStatus:
        """How the server is now; starts and changes nothing."""
        with system_errors_explained(self.home):
            process = self._running()
            data = self._data()
            return ServerStatus(
                running=process is not None,
                pid=process.pid if process else None,
                port=self._port(process),
                data=data,
                version=self._version(data),
            )

    def dsn(self, database: str = _DATABASE) -> str:
        """The DSN of *database*, for every client of this account; it stays valid over a stop and a start.

        It holds the password. The port changes only if another program takes it while the server is stopped.

        Raises:
            EmbeddedServerError: the server has never been started.
        """
        with system_errors_explained(self.home):
            self._check_owner()
            port, password = self._port(self._running()), self._read("password")
        if port is None:
            raise EmbeddedServerError(f"the embedded PostgreSQL in {self.home} was never started; start it first")
        if password is None:
            raise EmbeddedServerError(
                f"the password file {self._folder / 'password'} is gone; stop the server, and its next start makes one"
            )
        return f"postgresql://{_ROLE}:{password}@127.0.0.1:{port}/{database}"

    # What is there.

    @cached_property
    def _account(self) -> Account:
        return find_account()

    @cached_property
    def _binaries(self) -> Binaries:
        return reachable_binaries(self._given_binaries or find_binaries(), self._account)

    def _data(self) -> Path | None:
        """The data folder, wherever it is; None before the first start."""
        found = [entry for entry in self._folder.glob("data-*") if entry.suffix != ".new"]
        if len(found) > 1:
            found = [entry for entry in found if entry.name == f"data-{self._binaries.major}"] or found
        return next((Path(os.readlink(entry)) if entry.is_symlink() else entry for entry in found), None)

    def _running(self) -> ServerProcess | None:
        data = self._data()
        process = read_process(data) if data is not None else None
        return process if process is not None and process.is_ready and process.is_running else None

    def _port(self, process: ServerProcess | None) -> int | None:
        if process is not None:
            return process.port
        text = self._read("port")
        return int(text) if text and text.isdecimal() else None

    def _version(self, data: Path | None) -> str | None:
        if data is None or not (data / "PG_VERSION").exists():
            return None
        major = (data / "PG_VERSION").read_text().strip()
        try:
            binaries = self._given_binaries or find_binaries()
            return binaries.version if binaries.major == major else major
        except EmbeddedServerError:
            return major  # a server can run on after its programs were uninstalled

    # The folder and its small files.

    def _make_folder(self) -> None:
        # Others may pass through, but not list it, where the server's account has to get to the data.
        mode = 0o700 if self._account.is_our_own else 0o711
        if not self.home.exists():
            self.home.mkdir(mode, parents=True, exist_ok=True)
            self.home.chmod(mode)
        self._folder.mkdir(mode, exist_ok=True)
        self._check_owner()
        self._folder.chmod(mode)

    def _check_owner(self) -> bool:
        """Whether the folder is there; one that somebody else made is refused, as they could change what is in it."""
        try:
            found = self._folder.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not stat.S_ISDIR(found.st_mode):
            raise EmbeddedServerError(f"{self._folder} is not a folder; set RELIABLE_IMPORTS_HOME to another place")
        if found.st_uid != os.geteuid():
            raise EmbeddedServerError(
                f"the embedded PostgreSQL in {self.home} belongs to another account (uid {found.st_uid}) and is not "
                "shared; set RELIABLE_IMPORTS_HOME to a folder of your own"
            )
        return True

    def _read(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _write(self, name: str, text: str) -> None:
        """Put *text* into a file that only we can read, whole or not at all."""
        if self._read(name) == text:
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f"{name}-", dir=self._folder)  # mode 0600
        with open(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._folder / name)

    # Under the lock.

    def _running_or_starting(self) -> ServerProcess | None:
        """The running server, once it is ready: a starter that was killed may have left it still starting."""
        data = self._data()
        process = read_process(data) if data is not None else None
        if data is None or process is None or not process.is_running:
            return None
        return wait_until_ready(data, process.pid)

    def _launch(self, lock: int) -> ServerProcess:
        """Start the server, and create its data first if there is none."""
        name = f"data-{self._binaries.major}"
        old = self._data()
        if old is not None and old.name != name:
            raise EmbeddedServerError(
                f"the data in {old} is of PostgreSQL {old.name.removeprefix('data-')}, and the PostgreSQL that was "
                f"found is {self._binaries.version}; install the version of the data, or set RELIABLE_IMPORTS_HOME "
                "to a new folder to start with an empty database"
            )
        data = reachable_data(self._folder, name, self._account, stop_server=lambda found: stop(found, "fast"))
        maker = ClusterMaker(self._binaries, self._account, lock)
        if not data.exists():
            sync = self._settings.get("fsync") != "off"
            maker.create(data, owner=_ROLE, password=self._new_password(), database=_DATABASE, sync=sync)
        check_reach(data, self._account)
        if not (data / "PG_VERSION").exists():
            raise server_failure(data, "PG_VERSION is missing")
        if self._read("password") is None:
            maker.run_sql(data, f"ALTER ROLE {_ROLE} PASSWORD '{self._new_password()}'")
        process = self._launch_in_spite_of_a_full_disk(data)
        if self._settings.get("fsync") != "off":
            keep_reserve(data)
        return process

    def _launch_in_spite_of_a_full_disk(self, data: Path) -> ServerProcess:
        """Start the server; one that has filled its disk gets the reserve, and gives back what it does not need."""
        try:
            return self._launch_on_a_free_port(data)
        except FullDisk:
            if not release_reserve(data):
                raise
        process = self._launch_on_a_free_port(data)
        self._write("port", str(process.port))
        reclaim_space(self.dsn())
        return process

    def _new_password(self) -> str:
        password = secrets.token_urlsafe(24)
        self._write("password", password)
        return password

    def _launch_on_a_free_port(self, data: Path) -> ServerProcess:
        attempts = 10
        while True:
            attempts -= 1
            try:
                return launch(data, self._choose_port(), self._settings, self._binaries, self._account)
            except EmbeddedServerError as error:
                # Another program may take the port between our look and the server's.
                lost_port = is_port_taken(error.detail) and self._wanted_port is None
                if not attempts or not (lost_port or is_still_going_down(error.detail)):
                    raise
                time.sleep(0.2)

    def _choose_port(self) -> int:
        if self._wanted_port is not None:
            if not is_free(self._wanted_port):
                raise EmbeddedServerError(f"port {self._wanted_port} of 127.0.0.1 is taken by another program")
            return self._wanted_port
        before = self._port(None)
        return before if before is not None and is_free(before) else free_port()
