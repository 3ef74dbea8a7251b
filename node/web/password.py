"""The page's password: only its scrypt hash is kept, in a file for this user alone."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from typing import TYPE_CHECKING

from node.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

COST, BLOCK, PARALLEL = 2**15, 8, 1
"""scrypt's N, r and p: 32 MiB and some 0.1 s a try on a PC."""

MEMORY_BYTES = 64 * 1024 * 1024
SHORTEST = 8
HEAD = "scrypt"


def hashed(password: str) -> str:
    """Return the hash of a password as a line for `matches`."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, COST, BLOCK, PARALLEL)
    return f"{HEAD}:{COST}:{BLOCK}:{PARALLEL}:{salt.hex()}:{digest.hex()}"


def matches(password: str, line: str) -> bool:
    """Return whether the password is the one that was hashed.

    Raises:
        ValueError: the line was not made by `hashed`.
    """
    head, cost, block, parallel, salt, digest = line.split(":")
    if head != HEAD:
        raise ValueError("it is no scrypt hash")
    found = _scrypt(password, bytes.fromhex(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(found, bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=MEMORY_BYTES
    )


def write(file: Path, password: str) -> None:
    """Keep a password's hash in the file.

    Raises:
        ConfigError: the password is too short, or no text.
        StoreError: the file cannot be written.
    """
    if len(password) < SHORTEST:
        raise ConfigError([f"the password is too short: give at least {SHORTEST} characters"])
    try:
        line = hashed(password)
    except UnicodeEncodeError:
        raise ConfigError(["the password is not text in this terminal's encoding"]) from None
    beside = file.with_name(f"{file.name}.new")  # until it is whole, the old one counts
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            os.fchmod(opened.fileno(), 0o600)
            opened.write(f"{line}\n")
        beside.replace(file)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror}") from error


def read(file: Path) -> str | None:
    """Return the hash in the file; None if there is no such file, or nothing in it.

    Raises:
        ConfigError: it cannot be read, others may read it, or it holds no hash.
    """
    try:
        with file.open(encoding="ascii", errors="replace") as opened:
            if os.fstat(opened.fileno()).st_mode & stat.S_IRWXO:
                raise ConfigError([f"{file}: everybody can read it: run `chmod 600 {file}`"])
            line = opened.read(1024).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from error
    if not line:
        return None
    try:
        matches("", line)
    except ValueError:
        text = "holds no password's hash: run `scribe-node web --set-password`"
        raise ConfigError([f"{file}: {text}"]) from None
    return line
