# SPDX-License-Identifier: Apache-2.0
"""A private slapd, and servers that only look like one."""

import contextlib
import shutil
import socket
import subprocess
import threading

from .postgres import as_user, folder, free_port, unprivileged_user
from .waiting import eventually

BASE = "dc=example,dc=net"
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/pid
argsfile {folder}/arguments
TLSCACertificateFile {authority}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 10485760
suffix {base}
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree=ou=hidden,{base} by dn.exact=cn=asker,{base} read by anonymous auth by * none
access to * by * read
"""


def person(name, password, unit="people", more=""):
    return (f"dn: uid={name},ou={unit},{BASE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\n"
            f"sn: Smith\nmail: {name}@example.net\nuserPassword: {password}\n{more}\n")


class Directory:
    """slapd with the entries that are given, on a port for LDAP (and StartTLS) and one for LDAPS."""

    program = "/usr/sbin/slapd"

    def __init__(self, certificates, people):
        account = unprivileged_user()
        self.folder = folder("ldap")
        (self.folder / "data").mkdir()
        self.port, self.tls_port = free_port(), free_port()
        certificate, key = certificates.make("ldap", "/CN=localhost", names="IP:127.0.0.1")
        self.authority = certificates.path("ca.crt")
        for path in (certificate, key):
            shutil.copy(path, self.folder)
        configuration = self.folder / "slapd.conf"
        configuration.write_text(CONFIGURATION.format(
            folder=self.folder, base=BASE, authority=self.authority,
            certificate=self.folder / "ldap.crt", key=self.folder / "ldap.key"))
        entries = self.folder / "entries"
        units = "".join(f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n\n"
                        for unit in ("people", "hidden"))
        entries.write_text(
            f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n\n"
            f"dn: cn=asker,{BASE}\nobjectClass: person\ncn: asker\nsn: asker\n"
            f"userPassword: asker's, \"one\"\n\n{units}{''.join(people)}")
        if account:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, account.pw_uid, account.pw_gid)
        run = as_user(account)
        subprocess.run([*run, "/usr/sbin/slapadd", "-f", str(configuration), "-l", str(entries)],
                       check=True, capture_output=True)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [*run, self.program, "-f", str(configuration), "-d", "stats", "-h",
                 f"ldap://127.0.0.1:{self.port} ldap://127.0.0.2:{self.port} ldaps://127.0.0.1:{self.tls_port}"],
                stdout=log, stderr=log)
        eventually(lambda: self.answers(self.port) and self.answers(self.tls_port),
                   what=lambda: (self.folder / "log").read_text())

    @staticmethod
    def answers(port):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def destroy(self):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class Mute:
    """Accepts connections, says what it was given, once it was asked something if so, and no more."""

    def __init__(self, words=b"", asked=False):
        self.words, self.asked, self.accepted = words, asked, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                one = self.listener.accept()[0]
                self.accepted.append(one)
                if self.asked:
                    one.recv(4096)
                one.sendall(self.words)

    def destroy(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
        for one in self.accepted:
            one.close()
