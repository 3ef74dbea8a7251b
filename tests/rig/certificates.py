"""A certificate authority and a server certificate for the loopback interface, made by openssl."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.rig.processes import need

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
# Python 3.13 verifies strictly: it requires keyUsage in both, and the two key identifiers.
SERVER_EXTENSIONS = """\
subjectAltName=DNS:localhost,IP:127.0.0.1
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""

CA_CONFIGURATION = """\
[ca]
default_ca = own
[own]
database = index.txt
unique_subject = no
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = either
[any]
commonName = supplied
[either]
subjectAltName = DNS:localhost,IP:127.0.0.1
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = clientAuth,serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


KEY_USAGE = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")


def make_certificates(
    folder: Path, *, ca_extensions: Sequence[str] = KEY_USAGE, extensions: str = SERVER_EXTENSIONS
) -> None:
    """Write ca.crt, server.crt and server.key to `folder`, valid for two days."""
    need("openssl")
    (folder / "extensions").write_text(extensions)
    _openssl(
        folder,
        *("req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2"),
        *("-subj", "/CN=test CA", *ca_extensions),
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


def make_certificate(folder: Path, name: str, *, days: int = 2) -> None:
    """Write a certificate for either side, signed by `folder`/ca.crt; expired if `days` < 0."""
    _openssl(
        folder,
        *("req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=node"),
    )
    # `openssl x509` cannot sign for the past; `ca` can, but needs a database.
    (folder / "index.txt").touch()
    (folder / "ca.cnf").write_text(CA_CONFIGURATION)
    start, end = (_utc(-2), _utc(-1)) if days < 0 else (_utc(-1), _utc(days))
    _openssl(
        folder,
        *("ca", "-batch", "-config", "ca.cnf", "-in", f"{name}.csr", "-out", f"{name}.crt"),
        *("-startdate", start, "-enddate", end, "-notext"),
    )


def _utc(days: int) -> str:
    """Return the time `days` from now in ASN.1 format."""
    return f"{datetime.now(UTC) + timedelta(days=days):%Y%m%d%H%M%SZ}"


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
