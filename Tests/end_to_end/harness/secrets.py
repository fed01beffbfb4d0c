# SPDX-License-Identifier: Apache-2.0
"""Secrets of roles, as PostgreSQL keeps them and as auth_file has them."""

import base64
import hashlib
import hmac
import os

from . import wire


def scram_secret(password, iterations=4096, salt=None):
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", wire.as_bytes(password), salt, iterations)
    client = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encode = lambda raw: base64.b64encode(raw).decode()
    return f"SCRAM-SHA-256${iterations}:{encode(salt)}${encode(client)}:{encode(server)}"


def stored_secret(postgres, role):
    """rolpassword of a role."""
    return postgres.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role,))[0][0]
