"""Runs a study on Ray: session, resources, runner, workers, status, views."""

from __future__ import annotations

import os

from gada_ray.system import bytecode

bytecode.enable_cache()
# Read when Ray is imported or started. Token authentication would write a secret into the user's home for a local
# session; a driver under `uv run` would install the environment again for every worker; Tune would write three logs of
# its own, and a traceback where a worker dies. Ray's workers would run at nice 15 and starve beside any other work; at
# 0 they have the niceness of the command, so that `nice python tune.py ...` gives way.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")
