"""A signal by which the driver requests that trials stop, and on which workers wait without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ALL = "all"
"""In place of a signature: every trial of the run."""
MAX_WAITING = 100_000
"""Trials that may wait at a time; Ray's own limit for an actor is 1,000."""


class _Requests:
    """The signatures of trials that are requested to stop, in an actor of Ray."""

    def __init__(self) -> None:
        self._requested: set[str] = set()
        self._changed = asyncio.Condition()

    async def set(self, signature: str) -> None:
        """Request that a trial stops."""
        async with self._changed:
            self._requested.add(signature)
            self._changed.notify_all()

    async def clear(self, signature: str) -> None:
        """Withdraw a request."""
        async with self._changed:
            self._requested.discard(signature)

    async def wait(self, signature: str) -> None:
        """Return once a trial is requested to stop, or all are."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._requested.isdisjoint((signature, ALL)))


class StopSignal:
    """Requests that trials stop. The driver sets it; workers ask `is_set`, which reads a flag of their own process.

    The requests are kept by a small actor on the driver's node. It ends with the driver, is started again if it is
    killed, and takes no CPU while nothing is requested. Where it cannot be reached, a trial is not requested to stop.
    """

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._requests: Any = (
            ray.remote(_Requests)
            .options(
                num_cpus=0,
                max_concurrency=MAX_WAITING,
                max_restarts=-1,
                max_task_retries=-1,
                scheduling_strategy=here,
            )
            .remote()
        )

    def set(self, signature: str = ALL) -> None:
        """Request that one trial stops, or all; returns at once."""
        self._requests.set.remote(signature)

    def clear(self, signature: str) -> None:
        """Withdraw the request for one trial, before it is started again."""
        ray.get(self._requests.clear.remote(signature))

    def close(self) -> None:
        """End the actor, once no trial runs any more."""
        ray.kill(self._requests)

    @contextmanager
    def requested(self, signature: str) -> Iterator[Callable[[], bool]]:
        """In a worker: a function `is_set` that says whether its trial is requested to stop."""
        waiting = self._requests.wait.remote(signature)
        answer = waiting.future()

        def is_set() -> bool:
            return answer.done() and not answer.cancelled() and answer.exception() is None

        try:
            yield is_set
        finally:
            with suppress(Exception):  # the actor ends with the run in any case
                ray.cancel(waiting)
