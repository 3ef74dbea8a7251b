"""TLS with certificates from files; errors name the key and path of the file at fault."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from node.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def tls_context(
    ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> ssl.SSLContext:
    """Return a client's context; it always checks the server's certificate and host name.

    Args:
        ca_file: PEM certificates of trusted authorities; None: the system's.
        cert_file: PEM certificate of this client, if any.
        key_file: PEM key of that certificate, without a password.

    Raises:
        ConfigError: a file cannot be read, or is not a certificate or key.
    """
    context = _trusting("ca_file", ca_file) if ca_file else ssl.create_default_context()
    if cert_file is None or key_file is None:
        return context
    _trusting("cert_file", cert_file)  # only to distinguish its errors from those of the key
    try:
        # Without a password, openssl would ask for one on the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
    except ssl.SSLError as error:
        raise _problem("key_file", key_file, _fault_of_key(error, cert_file)) from error
    except OSError as error:
        raise _problem("key_file", key_file, f"cannot be read: {error.strerror}") from error
    return context


def _trusting(key: str, file: Path) -> ssl.SSLContext:
    """Return a context that trusts only the certificates in `file`."""
    try:
        return ssl.create_default_context(cafile=str(file))
    except ssl.SSLError as error:
        what = f"has no PEM certificate ({error.reason or 'unknown format'})"
        raise _problem(key, file, what) from error
    except OSError as error:
        raise _problem(key, file, f"cannot be read: {error.strerror}") from error


def _fault_of_key(error: ssl.SSLError, cert_file: Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"is not the key of mqtt.tls.cert_file {cert_file}; give the one made with it"
    return f"is not a PEM key without a password ({error.reason or 'unknown format'})"


def _problem(key: str, file: Path, what: str) -> ConfigError:
    return ConfigError([f"mqtt.tls.{key}: {file} {what}"])
