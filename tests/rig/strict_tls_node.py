"""The node as on Python 3.13, `python -m tests.rig.strict_tls_node run`: certificates are verified
to the letter of RFC 5280 there by default."""

from __future__ import annotations

import ssl
import sys
from typing import Any

from node.cli import main

STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
"""What `ssl.create_default_context` of Python 3.13 sets."""

create_default_context = ssl.create_default_context


def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
    context = create_default_context(*arguments, **options)
    context.verify_flags |= STRICT
    return context


if __name__ == "__main__":
    ssl.__dict__["create_default_context"] = strict
    sys.exit(main())
