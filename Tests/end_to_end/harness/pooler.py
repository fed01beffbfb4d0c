# SPDX-License-Identifier: Apache-2.0
"""The program under test: pglease, or (to try the tests themselves) pgbouncer or nothing at all."""

import contextlib
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from . import wire
from .postgres import as_user, folder, free_port, unprivileged_user
from .waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[3]

# What Debian's pgbouncer 1.18 has not heard of; left out when the tests are tried against it.
UNKNOWN_TO_PGBOUNCER = {
    "log_format", "max_prepared_statements", "query_wait_notify", "transaction_timeout",
    "max_server_connections", "max_waiting", "startup_attempts", "startup_delay",
    "connect_parallelism", "server_login_retry_min", "client_write_timeout", "lease_timeout",
    "lease_warn_after", "log_level", "shutdown_grace", "max_user_client_connections",
    "max_db_client_connections", "direct_lease", "track_extra_parameters", "startup_factor",
    "startup_max_delay", "client_gone", "max_statement_memory", "session_state",
    "isolation", "pin_notice", "drain_idle_clients", "pin_timeout", "pin_reserve",
}
USERS = ("app", "other", "postgres", "admin", "secretive", "watcher")


def pglease_binary():
    given = os.environ.get("PGLEASE_BIN")
    return given or str(REPOSITORY / ".build/debug/pglease")


def kind():
    return os.environ.get("PGLEASE_E2E_POOLER", "pglease")


class Ended(AssertionError):
    """The program ended when it should not have."""


class Pooler:
    """A running pglease with a folder, a configuration file and a log of its own."""

    program = "pglease"

    def __init__(self, postgres, settings=None, databases=None, users=None, groups=None,
                 section=None, userlist=None, environment=None, arguments=(), tcp=False,
                 config_text=None, account=None, inherit=(), open_files=None):
        self.postgres = postgres
        self.folder = folder("broker")
        self.account = account
        self.port = free_port()
        self.socket_folder = self.folder / "s"
        self.socket_folder.mkdir(mode=0o755)
        self.config_path = self.folder / f"{self.program}.ini"
        self.userlist_path = self.folder / "userlist.txt"
        self.log_path = self.folder / "log"
        self.log_path.touch()
        self.section = section or self.program
        self.settings = self.default_settings() | ({"listen_addr": "127.0.0.1"} if tcp else {})
        self.settings |= {key: str(value) for key, value in (settings or {}).items()}
        self.databases = dict(databases) if databases is not None else {"*": self.server()}
        self.users, self.groups = dict(users or {}), dict(groups or {})
        self.userlist = userlist if userlist is not None else dict.fromkeys(USERS, "")
        self.environment, self.arguments = dict(environment or {}), list(arguments)
        self.config_text = config_text
        self.inherit, self.open_files = inherit, open_files
        self.process = None
        self.errors_expected = False
        self.log_mark = 0
        self.notify = None
        self.told = []
        self.last_log = ""
        self.write()

    # What it is told.

    def default_settings(self):
        return {
            "listen_port": str(self.port), "unix_socket_dir": str(self.socket_folder),
            "pool_mode": "transaction", "auth_type": "trust", "auth_file": str(self.userlist_path),
            "admin_users": "admin", "stats_users": "watcher", "log_format": "json",
            "default_pool_size": "10", "max_client_conn": "500", "server_tls_sslmode": "disable",
            # All clients of a test are one process: the reserve would be lent to them as to a locked one.
            "shutdown_grace": "5", "drain_idle_clients": "0", "reserve_pool_size": "0",
        }

    def server(self, **more):
        """A [databases] value that leads to our PostgreSQL."""
        words = {"host": self.postgres.host, "port": self.postgres.port, **more}
        return " ".join(f"{key}={value}" for key, value in words.items())

    def sections(self):
        yield "databases", self.databases
        yield "users", self.users
        yield "groups", self.groups
        yield self.section, self.settings

    def write(self):
        """Writes the configuration as it now is."""
        if self.config_text is not None:
            self.config_path.write_text(self.config_text)
        else:
            lines = []
            for name, entries in self.sections():
                if entries or name == self.section:
                    lines.append(f"[{name}]")
                    lines += [f"{key} = {value}" for key, value in entries.items()]
            self.config_path.write_text("\n".join(lines) + "\n")
        self.write_userlist()

    def write_userlist(self):
        self.userlist_path.write_text(
            "".join(f'"{name}" "{secret}"\n' for name, secret in self.userlist.items()))

    def set(self, **settings):
        """Changes settings in the file; not yet in force."""
        self.settings |= {key: str(value) for key, value in settings.items()}
        self.write()

    # Running.

    def command(self):
        return [pglease_binary(), "serve", "--config", str(self.config_path), *self.arguments]

    def runs_as(self):
        return self.account

    def launch(self):
        """Starts the program without waiting for it."""
        if self.runs_as():
            for path in (self.folder, self.socket_folder, self.userlist_path, self.config_path):
                shutil.chown(path, self.runs_as().pw_uid, self.runs_as().pw_gid)
        path = f"{self.folder}/notify"
        if os.path.exists(path):
            os.unlink(path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(path)
        os.chmod(path, 0o777)
        inherited = {
            key: value for key, value in os.environ.items()
            if not key.startswith("PGLEASE_") and key not in ("DATABASE_URL", "DATABASE_URL_FILE")
        }
        environment = inherited | {"NOTIFY_SOCKET": path} | self.environment
        self.told = []
        limit = ["prlimit", f"--nofile={self.open_files}:{self.open_files}"] \
            if self.open_files else []
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                limit + as_user(self.runs_as()) + self.command(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=environment, cwd=self.folder, start_new_session=True,
                pass_fds=self.inherit)
        return self

    def start(self, within=30):
        """Starts the program and waits until it says that it is ready."""
        self.launch()
        self.wait_told("READY=1", within)
        return self

    def replace(self, within=30):
        """Starts another process in the place of this one, and waits until it is ready. Returns the former one."""
        former = self.process
        kept, self.arguments = self.arguments, [*self.arguments, "--replace"]
        try:
            self.start(within)
        finally:
            self.arguments = kept
        return former

    def hear(self, seconds=0.02):
        """Reads what the program told the service manager."""
        while select.select([self.notify], [], [], seconds)[0]:
            self.told += self.notify.recv(4096).decode().split("\n")
            seconds = 0
        return self.told

    def wait_told(self, word, within=30):
        def heard():
            if any(line.startswith(word) for line in self.hear()):
                return True
            if self.process.poll() is not None:
                raise Ended(f"ended with status {self.process.returncode} before {word}:\n"
                            f"{self.log_tail()}")
            return False
        eventually(heard, within, lambda: f"{word} from the program:\n{self.log_tail()}", every=0)

    @property
    def pid(self):
        return self.process.pid

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def send_signal(self, which):
        os.kill(self.pid, which)

    def wait(self, within=30):
        """Waits for the end; returns the exit status."""
        return self.process.wait(within)

    def stop(self):
        """Ends the program at once, as a service manager in a hurry does."""
        if self.alive:
            self.send_signal(signal.SIGTERM)
            eventually(lambda: not self.alive or self._second_signal(), 20)
            if self.process.returncode not in self.good_ends:
                raise Ended(f"ended with status {self.process.returncode}:\n{self.log_tail()}")

    good_ends = (0, -signal.SIGTERM)

    def _second_signal(self):
        self.hear(0)
        try:
            self.process.wait(0.3)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGTERM)
        return not self.alive

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def destroy(self):
        self.kill()
        if self.notify:
            self.notify.close()
        self.last_log = self.log()
        if not os.environ.get("PGLEASE_E2E_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    # Looking at it.

    @property
    def socket_path(self):
        return f"{self.socket_folder}/.s.PGSQL.{self.port}"

    @property
    def tcp_address(self):
        return ("127.0.0.1", self.port)

    @property
    def dsn_host(self):
        return self.socket_folder

    @property
    def dsn_port(self):
        return self.port

    def dsn(self, user="app", dbname="app", **more):
        words = {"host": self.dsn_host, "port": self.dsn_port, "user": user, "dbname": dbname}
        return " ".join(f"{key}='{value}'" for key, value in (words | more).items())

    def wire(self, user="app", database="app", timeout=20.0, **parameters):
        """A raw client that is logged in."""
        return wire.Wire(self.socket_path, timeout).start(user, database, **parameters)

    def raw(self, timeout=20.0):
        """A raw client that has sent nothing."""
        return wire.Wire(self.socket_path, timeout)

    console_database = "pglease"

    def console(self, sql, user="admin", database=None, address=None):
        """The rows of a console command as dictionaries of column to text."""
        one = wire.Wire(address or self.socket_path)
        with one.start(user, database or self.console_database):
            seen = one.query(sql)
            names = next((each.columns for each in seen if each.kind == "T"), [])
            return [dict(zip(names, row)) for row in wire.rows_of(seen)]

    def pool(self, database="app", user="app"):
        """The row of SHOW POOLS of one pool."""
        for row in self.console("SHOW POOLS"):
            if row["database"] == database and row["user"] == user:
                return row
        return None

    def waiting(self, database="app", user="app"):
        row = self.pool(database, user)
        return int(row["cl_waiting"]) if row else 0

    def active(self, database="app", user="app"):
        row = self.pool(database, user)
        return int(row["cl_active"]) if row else 0

    def memory(self):
        """Resident bytes."""
        return self._status("VmRSS")

    def _status(self, name):
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(found.group(1)) * 1024

    def open_files_now(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # Its log.

    def log(self):
        if not self.log_path.exists():
            return ""
        if self.log_path.exists():
            return self.log_path.read_text(errors="replace")
        return self.last_log

    def log_tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def records(self):
        """The JSON lines of the log; other lines become {"text": …}."""
        self.settle()
        for line in self.log().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield {"text": line}

    def settle(self):
        """Waits for the end of the turn of the loop that told a client something: it is logged in the same one.

        A ping is answered by a later turn; one that is not answered is of no account here.
        """
        if self.alive:
            with contextlib.suppress(OSError, EOFError), self.raw(timeout=5) as one:
                one.send(wire.startup({"user": "ping", "_pq_.pglease_ping": "1"}))
                while one.socket.recv(4096):
                    pass

    def logged(self, *words):
        """The lines of the log in which all the words occur."""
        self.settle()
        return [line for line in self.log().splitlines()
                if all(word.lower() in line.lower() for word in words)]

    def wait_logged(self, *words, within=10):
        return eventually(lambda: self.logged(*words), within,
                          lambda: f"{words} in the log:\n{self.log_tail()}")

    def mark(self):
        self.log_mark = len(self.log().splitlines())
        self.errors_expected = False

    def check(self):
        """Fails when the program died, trapped, or logged an error that nobody expected."""
        if self.process is None:
            return
        since = self.log().splitlines()[self.log_mark:]
        trapped = [line for line in since if "Fatal error" in line or "Swift runtime" in line]
        if trapped or (self.process.returncode or 0) < 0 \
                and self.process.returncode not in (-signal.SIGTERM, -signal.SIGKILL):
            raise Ended(f"trapped (status {self.process.returncode}):\n{self.log_tail(80)}")
        grave = [line for line in since if is_grave(line, self.errors_expected)]
        assert not grave, "unexpected errors in the log:\n" + "\n".join(grave[:10])


def is_grave(line, errors_expected):
    try:
        level = str(json.loads(line).get("level", "")).lower()
    except (ValueError, AttributeError):
        return False
    return level in ("critical", "error") and not errors_expected


class Pgbouncer(Pooler):
    """Debian's pgbouncer in the same clothes."""

    program = "pgbouncer"
    binary = "/usr/sbin/pgbouncer"
    console_database = "pgbouncer"
    good_ends = (0, 1, -signal.SIGTERM)

    def default_settings(self):
        ignored = {"ignore_startup_parameters": "extra_float_digits,options"}
        return super().default_settings() | ignored

    def runs_as(self):
        return self.account or unprivileged_user()

    def sections(self):
        for name, entries in super().sections():
            if name == "groups":
                continue
            yield name, {key: value for key, value in entries.items()
                         if key not in UNKNOWN_TO_PGBOUNCER}

    def command(self):
        return [self.binary, str(self.config_path)]


class Direct(Pooler):
    """No pooler at all: what the tests see on PostgreSQL itself."""

    def start(self, within=30):
        return self

    launch = start

    def check(self):
        pass

    @property
    def alive(self):
        return True

    def stop(self):
        pass

    @property
    def socket_path(self):
        return self.postgres.socket_path

    @property
    def dsn_host(self):
        return self.postgres.host

    @property
    def dsn_port(self):
        return self.postgres.port


def make(*arguments, **named):
    return {"pglease": Pooler, "pgbouncer": Pgbouncer, "direct": Direct}[kind()](
        *arguments, **named)


def own_name():
    return pwd.getpwuid(os.geteuid()).pw_name
