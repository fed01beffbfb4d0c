# SPDX-License-Identifier: Apache-2.0
"""The poolers of Debian sid, which `Benchmarks/make-peers` puts into a folder: pgbouncer, Odyssey and pgagroal.

They run where they are: sid's loader is told where sid's libraries are, and no chroot is entered.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from harness.pooler import Pgbouncer, Pooler
from harness.postgres import as_user, unprivileged_user
from harness.waiting import eventually

HERE = Path(__file__).resolve().parent
DEFAULT_FOLDER = HERE.parent / ".build-peers"
PASSWORD = "of a role that only the benchmarks know"


class Peers:
    """The folder that they are in; made when it is not there."""

    def __init__(self, folder=None):
        self.folder = Path(folder or DEFAULT_FOLDER).resolve()

    def make(self):
        if not self.has("odyssey") and not (self.folder / ".complete").exists():
            subprocess.run([str(HERE / "make-peers"), str(self.folder)], check=True)
        return self

    def program(self, name):
        return next((path for path in (self.folder / "usr/sbin" / name, self.folder / "usr/bin" / name)
                     if path.exists()), None)

    def has(self, name):
        return self.program(name) is not None

    def command(self, name, *words):
        """What runs a program of sid with sid's libraries."""
        libraries = ":".join(str(self.folder / part / "x86_64-linux-gnu") for part in ("lib", "usr/lib"))
        return [str(self.folder / "lib64/ld-linux-x86-64.so.2"), "--library-path", libraries,
                str(self.program(name)), *map(str, words)]


class NewerPgbouncer(Pgbouncer):
    """pgbouncer of sid."""

    peers = None

    def command(self):
        return self.peers.command("pgbouncer", self.config_path)


class Peer(Pooler):
    """A pooler that tells no service manager when it is ready, and has a configuration of its own kind."""

    peers = None

    def runs_as(self):
        return self.account or unprivileged_user()

    def start(self, within=30):
        self.launch()

        def answers():
            assert self.alive, f"ended with status {self.process.returncode}:\n{self.log_tail()}"
            try:
                self.raw(timeout=5).close()
                return True
            except OSError:
                return False
        eventually(answers, within, lambda: f"{self.program} listens:\n{self.log_tail()}")
        return self

    good_ends = (0, 1, -15, 255)

    def kill(self):
        """With the processes that it has started."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        super().kill()

    def write(self):
        self.write_own()
        self.write_userlist()

    def target(self):
        """Host and port of the server: as of our own kind's [databases]."""
        words = dict(word.split("=", 1) for word in self.databases["*"].split())
        return words["host"], words["port"]

    def link_to(self, socket_path, name):
        """Puts the server's socket into our folder under the name by which the program looks for it."""
        link = self.socket_folder / name
        if not link.is_symlink():
            link.symlink_to(socket_path)

    def own(self, path):
        if self.runs_as():
            shutil.chown(path, self.runs_as().pw_uid, self.runs_as().pw_gid)


class Odyssey(Peer):
    program = "odyssey"

    def command(self):
        return self.peers.command("odyssey", self.config_path)

    def write_own(self):
        host, port = self.target()
        place = f'    host "{host}"\n    port {port}'
        if host.startswith("/"):
            # Without a host it looks for the server's socket in its own folder.
            self.link_to(f"{host}/.s.PGSQL.{port}", f".s.PGSQL.{port}")
            place = f"    port {port}"
        timeout = int(float(self.settings.get("query_wait_timeout", 0)) * 1000)
        self.config_path.write_text(f"""
daemonize no
pid_file "{self.folder}/odyssey.pid"
locks_dir "{self.folder}"
unix_socket_dir "{self.socket_folder}"
unix_socket_mode "0666"
log_format "%p %t %l [%i %s] (%c) %m\\n"
log_to_stdout yes
log_config no
log_debug no
log_session no
log_query no
log_stats no
workers 2
coroutine_stack_size 24
listen {{
    port {self.port}
    backlog 1024
}}
storage "server" {{
    type "remote"
{place}
}}
database default {{
    user default {{
        authentication "none"
        storage "server"
        pool "transaction"
        pool_size {self.settings["default_pool_size"]}
        pool_timeout {timeout}
        pool_discard no
        pool_smart_discard yes
        pool_cancel yes
        pool_rollback yes
        pool_reserve_prepared_statement yes
        client_fwd_error yes
    }}
}}
""")


class Pgagroal(Peer):
    """A process for each client, and for the transaction pipeline a password of each role: that of `app` is made known."""

    program = "pgagroal"
    pipeline = "transaction"

    def command(self):
        return self.peers.command(
            "pgagroal", "-c", self.config_path, "-a", self.folder / "hba.conf", "-l",
            self.folder / "databases.conf", "-u", self.folder / "users.conf")

    def write_own(self):
        host, port = self.target()
        if host.startswith("/"):
            # 2.1.0 looks for the server's socket under a name that ends in its own port as well.
            self.link_to(f"{host}/.s.PGSQL.{port}", f".s.PGSQL.{port}.{self.port}")
            host = f"{self.socket_folder}/"
        size = self.settings["default_pool_size"]
        timeout = int(float(self.settings.get("query_wait_timeout", 0)))
        self.config_path.write_text(f"""
[pgagroal]
host = 127.0.0.1
port = {self.port}
unix_socket_dir = {self.socket_folder}/
log_type = console
log_level = warn
log_connections = off
log_disconnections = off
max_connections = {size}
allow_unknown_users = off
blocking_timeout = {timeout}
idle_timeout = 0
validation = off
pipeline = {self.pipeline}
track_prepared_statements = on
backlog = 1024
update_process_title = never

[primary]
host = {host}
port = {port}
primary = on
""")
        (self.folder / "hba.conf").write_text("host all all all trust\n")
        (self.folder / "databases.conf").write_text(f"app app {size} {size} {size}\n")
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        self.own(home)
        self.own(self.folder)
        self.environment["HOME"] = str(home)
        for words in (["-P", PASSWORD, "master-key"],
                      ["-f", str(self.folder / "users.conf"), "-U", "app", "-P", PASSWORD, "user", "add"]):
            done = subprocess.run(
                as_user(self.runs_as()) + self.peers.command("pgagroal-admin", *words),
                env={"HOME": str(home)}, cwd=self.folder, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"pgagroal-admin: {done.stdout}{done.stderr}")
