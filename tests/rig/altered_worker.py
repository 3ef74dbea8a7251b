"""The worker with other constants: `python -m tests.rig.altered_worker worker`.

`WORKER_CONSTANTS` has them as JSON, by module and name. Everything else is unchanged.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

from node.cli import main

MODULE = __name__ if __name__ != "__main__" else "tests.rig.altered_worker"
NAME = "WORKER_CONSTANTS"


def altered(**constants: Any) -> dict[str, Any]:
    """Return how to run it; `subscriptions__AGAIN_S=1` is that constant below `node.service`."""
    return {"module": MODULE, "env": {**os.environ, NAME: json.dumps(constants)}}


if __name__ == "__main__":
    for place, value in json.loads(os.environ[NAME]).items():
        *module, constant = place.split("__")
        setattr(importlib.import_module(".".join(["node.service", *module])), constant, value)
    sys.exit(main())
