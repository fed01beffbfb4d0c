# SPDX-License-Identifier: Apache-2.0
"""Certificates of every kind, made by the `openssl` program in a folder of their own."""

import os
import shutil
import subprocess

from .postgres import folder


class Certificates:
    """An authority `ca`, and what it signs; more authorities where a test wants them."""

    def __init__(self, account):
        self.folder, self.account = folder("certs"), account
        self.authority("ca")

    def path(self, name):
        return f"{self.folder}/{name}"

    def run(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def authority(self, name):
        self.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                 f"/CN=pglease test authority {name}", "-keyout", f"{name}.key",
                 "-out", f"{name}.crt")
        return self.path(f"{name}.crt")

    def make(self, name, subject, by="ca", days=2, key=("rsa:2048",), names=None):
        """A certificate and its key; with `days` below 0 its time is over."""
        self.run("req", "-newkey", *key, "-nodes", "-utf8", "-subj", subject,
                 "-keyout", f"{name}.key", "-out", f"{name}.csr")
        more = []
        if names:
            (self.folder / f"{name}.names").write_text(f"subjectAltName={names}\n")
            more = ["-extfile", f"{name}.names"]
        self.run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.crt", "-CAkey", f"{by}.key",
                 "-CAcreateserial", "-days", str(days), *more, "-out", f"{name}.crt")
        self.own(f"{name}.key")
        return self.path(f"{name}.crt"), self.path(f"{name}.key")

    def own(self, key):
        os.chmod(self.path(key), 0o600)
        if self.account:
            shutil.chown(self.path(key), self.account.pw_uid, self.account.pw_gid)

    def destroy(self):
        shutil.rmtree(self.folder, ignore_errors=True)
