"""Whether the loops of this package can be used here: numba and the processor must have what they need."""

import platform
from functools import cache
from importlib.metadata import version

# vectors.py builds on numba's own types and on llvmlite's typed pointers, which both may change.
TRIED = {"numba": "0.68.", "llvmlite": "0.50."}


@cache
def cpu_features() -> frozenset[str]:
    """Instructions of the processor that numba compiles for, each with + or - before it."""
    from numba import config  # here: flags are read before numba is loaded
    from numba.core.codegen import get_host_cpu_features

    chosen = vars(config)["CPU_FEATURES"]  # of the environment
    return frozenset((get_host_cpu_features() if chosen is None else chosen).split(","))


@cache
def obstacle() -> str | None:
    """Why the loops cannot be used; None where they can."""
    from numba import config  # here: flags are read before numba is loaded

    if vars(config)["DISABLE_JIT"]:
        return "NUMBA_DISABLE_JIT switches numba's compiler off"
    for package, tried in TRIED.items():
        if not version(package).startswith(tried):
            return f"{package} {version(package)} was not tried, {tried}x was"
    if platform.machine().lower() in ("x86_64", "amd64") and "+fma" not in cpu_features():
        return "the processor has no FMA instructions"
    return None
