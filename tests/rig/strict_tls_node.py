"""The node as on Python 3.13, which verifies certificates strictly by RFC 5280 by default:
`python -m tests.rig.strict_tls_node run`."""

from __future__ import annotations

import ssl
import sys
from typing import Any

from node.cli import main

STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
"""The flags that `ssl.create_default_context` sets in Python 3.13."""

create_default_context = ssl.create_default_context


def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
    context = create_default_context(*arguments, **options)
    context.verify_flags |= STRICT
    return context


if __name__ == "__main__":
    ssl.__dict__["create_default_context"] = strict
    sys.exit(main())
