"""Makes numpy work with one thread in the process that imports this before numpy.

Its OpenBLAS starts one for each processor, also for matrices of 64 by 64. Where others work on the
same processors these threads wait for one another: a millisecond becomes a hundred. OpenBLAS reads
the variable when numpy is loaded; the programs that tests start have it as before.
"""

from __future__ import annotations

import os

_BEFORE = os.environ.get("OPENBLAS_NUM_THREADS")
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402, F401 -- loaded here, with that variable

if _BEFORE is None:
    del os.environ["OPENBLAS_NUM_THREADS"]
else:
    os.environ["OPENBLAS_NUM_THREADS"] = _BEFORE
