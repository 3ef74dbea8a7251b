"""A certificate authority and a server certificate for the loopback interface, made by openssl."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.rig.processes import need

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
# Python 3.13 verifies strictly: it wants keyUsage in both, and the two key identifiers.
SERVER_EXTENSIONS = """\
subjectAltName=DNS:localhost,IP:127.0.0.1
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


def make_certificates(folder: Path) -> None:
    """Write ca.crt, server.crt and server.key to `folder`, valid for two days."""
    need("openssl")
    (folder / "extensions").write_text(SERVER_EXTENSIONS)
    _openssl(
        folder,
        *("req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2"),
        *("-subj", "/CN=test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    _openssl(
        folder,
        *("req", *KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"),
    )
    _openssl(
        folder,
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-out", "server.crt", "-days", "2", "-extfile", "extensions"),
    )


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
