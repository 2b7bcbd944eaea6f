"""The native kernel: the hot loops in C, where the package was built with a compiler.

Without it everything works with numpy and ISA-L, a few times slower. The environment variable
``IMAGING_DB_KERNEL=0`` leaves it unused, to compare the two or to rule it out.
"""

from __future__ import annotations

import os

try:
    from imaging_db.codecs import _kernel as _built
except ImportError:  # no compiler when the package was installed, or a big-endian processor
    _built = None  # type: ignore[assignment]

native = None if os.environ.get("IMAGING_DB_KERNEL") == "0" else _built
