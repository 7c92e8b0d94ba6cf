"""Compiled modules, kept for the next process: to compile torch, Ray and MLflow takes longer than to load them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

WORKER = "import gada_ray.running.worker, gada_ray.trials.run"
"""What every worker of a study loads."""


def enable_cache() -> None:
    """Have this process and those that it starts keep what they compile, even where PYTHONDONTWRITEBYTECODE is set.

    Images of containers commonly set it, and then every process compiles everything anew. Where the packages lie in a
    folder that may not be written to, bytecode goes to this program's cache.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    found = find_spec("torch")
    if found and found.origin and not compiled() and not os.access(Path(found.origin).parent, os.W_OK):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gada-ray" / "bytecode"
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(cache)


def compiled() -> bool:
    """Whether torch, the largest of what workers load, was compiled before."""
    found = find_spec("torch")
    return bool(found and found.cached and os.path.exists(found.cached))


def compile_for_workers() -> None:
    """Compile what workers load beside other work, if nothing did before: workers that start together all would."""
    if not compiled():
        command = [sys.executable, "-c", WORKER]
        threading.Thread(target=subprocess.run, args=[command], kwargs={"capture_output": True}, daemon=True).start()
