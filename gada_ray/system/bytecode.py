"""Keeps compiled modules for the next process: compiling torch, Ray and MLflow takes longer than loading them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

WORKER = "import gada_ray.running.worker, gada_ray.trials.run"
"""What every worker of a study imports."""


def enable_cache() -> None:
    """Let this process and those that it starts keep compiled modules, even where PYTHONDONTWRITEBYTECODE is set.

    Container images often set it, and then every process compiles all modules again. Where the folder of the packages
    cannot be written to, bytecode goes to this program's cache.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    found = find_spec("torch")
    if found and found.origin and not compiled() and not os.access(Path(found.origin).parent, os.W_OK):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gada-ray" / "bytecode"
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(cache)


def compiled() -> bool:
    """Whether torch, the largest package that workers import, has been compiled."""
    found = find_spec("torch")
    return bool(found and found.cached and os.path.exists(found.cached))


def compile_for_workers() -> None:
    """Compile what workers import in the background, unless it is compiled: else all workers would at once."""
    if not compiled():
        command = [sys.executable, "-c", WORKER]
        threading.Thread(target=subprocess.run, args=[command], kwargs={"capture_output": True}, daemon=True).start()
