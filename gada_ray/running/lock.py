"""A lock for each study and storage. Two drivers would train the same trials twice and delete each other's MLflow runs.

`<storage>/locks/<study>.json` names the driver, which rewrites the file every few seconds. The lock of a process that
has ended is taken over: at once on its own host, on another host after the file has not changed for a while. No clocks
of two machines are compared. A driver whose lock was taken over, as after a machine's sleep, notices it and ends.
"""

from __future__ import annotations

import datetime
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from gada_ray.config import Frozen
from gada_ray.errors import UserError
from gada_ray.trials.store import Folder, read_whole, unusable, write_whole

BEAT_S = 10.0
"""Seconds between two writes of a lock."""
STALE_S = 90.0
"""Seconds without a write after which a lock counts as abandoned; NFS may hide a write for a minute."""


class LockedError(UserError, RuntimeError):
    """A study that another driver is running; names its process, host and start, and what to do."""


class Holder(Frozen):
    """A driver, as its lock names it."""

    pid: int
    host: str
    processes: str
    """Name of the process namespace of `pid`: the host's or a container's."""
    since: float
    """Seconds since 1970."""
    token: str
    """Unique to this driver."""
    beats: int = 0

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            processes=_processes(),
            since=time.time(),
            token=uuid.uuid4().hex,
        )

    def runs(self) -> bool | None:
        """Whether the process runs; None if this process cannot know."""
        if (self.host, self.processes) != (socket.gethostname(), _processes()):
            return None
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            # A later process may have the same number, and clocks are adjusted.
            return True if process.create_time() <= self.since + 1 else None
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        since = datetime.datetime.fromtimestamp(self.since, datetime.UTC)
        return f"process {self.pid} on {self.host} since {since:%Y-%m-%d %H:%M:%S} UTC"


class Lock:
    """A study's lock while it is held."""

    def __init__(self, path: Folder, study: str, holder: Holder) -> None:
        self._path, self._study, self._holder = path, study, holder
        self._thief: Holder | None = None
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another driver has taken it over."""
        return self._thief is not None

    def check(self) -> None:
        """Do nothing while the lock is held.

        Raises:
            LockedError: if another driver has taken it over; names that one.
        """
        if self._thief is not None:
            raise LockedError(
                f"the study '{self._study}' was taken over by {self._thief}, because this process had not written to "
                f"{self._path} for {STALE_S:.0f} s; nothing is lost, and that process goes on"
            )

    def release(self) -> None:
        """Release the lock."""
        self._released.set()
        self._thread.join()
        if not self.lost:
            with suppress(Exception):  # others find out that the process has ended
                self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._released.wait(BEAT_S):
            with suppress(Exception):  # trials report a storage that does not answer
                now = _read(self._path)
                if now is not None and now.token != self._holder.token:
                    self._thief = now
                    return
                self._holder = self._holder.model_copy(update={"beats": self._holder.beats + 1})
                write_whole(self._path, self._holder.model_dump_json().encode())


@contextmanager
def only_driver(root: Folder, study: str, tell: Callable[[str], None] = lambda message: None) -> Iterator[Lock]:
    """Hold a study's lock in a storage. It may be lost, see `Lock.lost`.

    `tell` gets a sentence when a lock has to be watched, and when one is taken over.

    Raises:
        LockedError: if another driver holds it.
        StoreError: if the storage cannot be written to.
    """
    path, holder = root / "locks" / f"{study}.json", Holder.here()
    data = holder.model_dump_json().encode()
    try:
        free = _create(path, data)
        other = None if free else _read(path)
    except Exception as error:
        raise unusable(root, error) from error
    if other is not None:
        runs = other.runs()
        if runs is None:
            tell(f"'{study}' was started by {other}; watching for up to {STALE_S:.0f} s whether that one still runs")
            runs = _beats(path, other)
        if runs:
            raise LockedError(
                f"the study '{study}' is being run on {root} by {other}; wait for its end, or end it and run this "
                f"command again, or give another --storage. If it is dead, and this message comes again, delete {path}"
            )
        tell(f"taking '{study}' over from {other}, which has ended")
    if not free:
        write_whole(path, data)
    lock = Lock(path, study, holder)
    try:
        yield lock
    finally:
        lock.release()


def _processes() -> str:
    """The process namespace, which differs between containers that have the same host name."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _beats(path: Folder, seen: Holder) -> bool:
    """Whether a lock is rewritten before it counts as abandoned."""
    end = time.monotonic() + STALE_S
    while time.monotonic() < end:
        time.sleep(BEAT_S / 4)
        now = _read(path)
        if now != seen:
            return now is not None
    return False


def _read(path: Folder) -> Holder | None:
    """The holder of a lock; None if there is none, or if its driver was killed while it wrote the file."""
    for _ in range(2):
        try:
            return Holder.model_validate_json(read_whole(path))
        except FileNotFoundError:
            return None
        except ValueError:
            time.sleep(0.5)  # it may be being written
    return None


def _create(path: Folder, data: bytes) -> bool:
    """Write a file if there is none; of two processes that try at once, one succeeds."""
    if not isinstance(path, Path):
        try:
            path.fs.pipe_file(path.path, data, mode="create")
        except FileExistsError:
            return False
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True
