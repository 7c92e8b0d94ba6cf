"""Shows the progress of a study: a live display on a terminal, plain lines in a file or pipe."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gada_ray.running.words import count, device_time, duration, wrap
from gada_ray.study.price import Cost, trial_work, work
from gada_ray.study.search import Job
from gada_ray.trials.identity import Progress
from gada_ray.trials.store import Result

REFRESH_EVERY_S = 0.2
"""Seconds between two updates of the live display."""
PLAIN_EVERY_S = 30.0
"""Seconds between two plain lines while no trial ends."""
MAX_NAMED = 4
"""Running trials in a plain line."""
WAITING_S = 5.0
"""Seconds that a trial waits for a worker before the status shows it."""
STUCK_S = 180.0
"""Seconds that a trial waits for a worker, while the nodes have room, before a message says where to look."""
STRAGGLER_FACTOR, STRAGGLER_S, STRAGGLER_PEERS = 4.0, 60.0, 3
"""A message names a trial that takes this many times as long as finished trials of its size, and at least this many
seconds, once this many have finished."""


class Watcher:
    """Is called when something happens to a trial. This one does nothing."""

    def waits(self, job: Job) -> None:
        """A trial requests a worker."""

    def started(self, job: Job) -> None:
        """A worker has started a trial."""

    def progress(self, job: Job, progress: Progress) -> None:
        """A trial reported."""

    def warn(self, job: Job, message: str) -> None:
        """Something went wrong with a trial."""

    def released(self, job: Job) -> None:
        """A worker has ended a trial, whether it finished, failed or was stopped."""

    def counted(self, slots: int) -> None:
        """The nodes now have room for `slots` trials at a time."""

    def tick(self) -> None:
        """Time passes."""


class Status(Watcher):
    """Counts trials, and estimates the remaining time from the work done so far."""

    def __init__(
        self,
        console: Console,
        title: str,
        upcoming: Iterable[Job],
        planned: Callable[[], int],
        share: str = "a worker",
        cost: Cost = work,
        logs: Callable[[], str] = lambda: "",
    ) -> None:
        """Start the clock.

        `upcoming` are the jobs known so far. `planned` counts the trials of the study, as far as they are known.
        `share` is what a trial waits for. `cost` is the cost of a configuration without some first phases, in any unit.
        `logs` says where Ray's logs are.
        """
        self._share, self._cost, self._logs = share, cost, logs
        self._console, self._title, self._planned = console, title, planned
        self._since = self._last = time.monotonic()
        self._work = trial_work((job.trial for job in upcoming), cost)
        self._all_work = sum(self._work.values())
        self._done_work = 0.0
        self._running: dict[str, tuple[Job, Progress]] = {}
        self._waiting: dict[str, float] = {}
        """When trials began to wait for a worker, by signature."""
        self._started: dict[str, float] = {}
        """When workers started trials, by signature."""
        self._pace: list[float] = []
        """Seconds for a unit of work, of every trial that has ended."""
        self._named: set[str] = set()
        """Trials that a message has named as slow."""
        self._stuck = False
        """Whether a message has said that trials wait although the nodes have room."""
        self._slots: int | None = None
        self.done = self.reused = self.failed = 0
        self.device_seconds = 0.0
        self._scores: dict[str, tuple[float, int]] = {}
        """By configuration: the sum of its scores, and how many they are."""
        self._scored = False
        """Whether a score of a running trial was shown."""
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Status:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def waits(self, job: Job) -> None:
        """A trial requests a worker."""
        if job.trial.signature not in self._work:
            self._work[job.trial.signature] = self._cost(job.trial.config, 0)
            self._all_work += self._work[job.trial.signature]
        self._waiting[job.trial.signature] = time.monotonic()

    def started(self, job: Job) -> None:
        """A worker has started a trial."""
        self._waiting.pop(job.trial.signature, None)
        self._running[job.trial.signature] = (job, {})
        self._started[job.trial.signature] = time.monotonic()

    def released(self, job: Job) -> None:
        """A worker has ended a trial, whether it finished, failed or was stopped."""
        self._waiting.pop(job.trial.signature, None)
        self._running.pop(job.trial.signature, None)
        since = self._started.pop(job.trial.signature, None)
        if since is not None:
            seconds = time.monotonic() - since
            self.device_seconds += seconds
            self._pace.append(seconds / self._work[job.trial.signature])

    def counted(self, slots: int) -> None:
        """The nodes now have room for `slots` trials at a time."""
        if self._slots is not None:
            self._print(f"the nodes have room for {count(slots, 'trial')} at a time now, {self._slots} before")
        self._slots = slots

    def progress(self, job: Job, progress: Progress) -> None:
        """A trial reported."""
        if job.trial.signature in self._running:
            before = self._running[job.trial.signature][1]
            # Scores come less often than losses.
            self._running[job.trial.signature] = (job, {**before, **progress})
            if not self._live and "srocc" in progress and not self._scored:
                self._scored = True
                self._print(f"training, {self._latest()}")

    def warn(self, job: Job, message: str) -> None:
        """Something went wrong with a trial."""
        self._warn(f"{job.run.name}, split {job.trial.fold.split}: {message}")

    def _warn(self, text: str) -> None:
        """Print a message above the live display."""
        shown = wrap(text, self._console.width) if self._live else text
        self._console.print(shown, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def ended(self, job: Job, result: Result | None, known: bool) -> None:
        """A trial has ended; `known` says that its result was in the store before."""
        signature = job.trial.signature
        if job.run.stage == "start":  # no trial of its own: others go on from its weights
            self._done_work += self._work.get(signature, 0.0)
            return
        self.done += 1
        self.reused += known
        failed = result is None or result.status != "finished"
        self.failed += failed
        if result is not None and not failed:
            total, number = self._scores.get(job.run.name, (0.0, 0))
            self._scores[job.run.name] = total + result.metrics["srocc"], number + 1
        if known:
            return
        self._done_work += self._work.get(signature, 0.0)
        if not self._live:
            outcome = (
                "failed" if result is None else result.status if failed else f"SROCC {result.metrics['srocc']:.3f}"
            )
            cause = f" ({result.cause})" if result and result.cause else ""
            self._print(f"{job.run.name}, split {job.trial.fold.split}: {outcome}{cause}")

    def tick(self) -> None:
        """Update the display; to be called often."""
        self._name_stragglers()
        self._say_that_trials_wait()
        since = time.monotonic() - self._last
        if self._live and since > REFRESH_EVERY_S:
            self._last = time.monotonic()
            self._live.update(self._display(), refresh=True)
        elif not self._live and since > PLAIN_EVERY_S:
            self._print(f"training, {self._latest()}" if self._running else "training")

    def _name_stragglers(self) -> None:
        """Name trials that take many times as long as others of their size, once each."""
        if len(self._pace) < STRAGGLER_PEERS:
            return
        pace, now = statistics.median(self._pace), time.monotonic()
        for signature, since in self._started.items():
            usual = pace * self._work[signature]
            if signature not in self._named and now - since > max(STRAGGLER_S, STRAGGLER_FACTOR * usual):
                self._named.add(signature)
                job, _ = self._running[signature]
                self.warn(job, f"has run for {duration(now - since)}, others of its size take {duration(usual)}")

    def _say_that_trials_wait(self) -> None:
        """Say once that trials wait for a worker although the nodes have room: Ray cannot start one."""
        longest = max((time.monotonic() - since for since in self._waiting.values()), default=0.0)
        free = (self._slots or 0) - len(self._running)
        if not self._stuck and longest > STUCK_S and free > 0:
            self._stuck = True
            self._warn(
                f"a trial has waited for {self._share} for {duration(longest)}, although there is room for "
                f"{count(free, 'more trial')}: Ray does not start a worker. Its logs, in {self._logs()} on every node, "
                "say why (raylet.err, raylet.out, worker-*.err); nodes that an autoscaler starts take minutes"
            )

    @property
    def waiting(self) -> str:
        """How many trials wait for a worker, and for how long; "" if none has waited for long."""
        now = time.monotonic()
        waits = [now - since for since in self._waiting.values() if now - since > WAITING_S]
        return f"{len(waits)} waiting for {self._share}, {duration(max(waits))}" if waits else ""

    @property
    def hours(self) -> float:
        """Hours since the study started."""
        return (time.monotonic() - self._since) / 3600

    @property
    def device_hours(self) -> float:
        """Hours of workers with trials, ended and running; a trial that waits for a worker costs nothing."""
        running = sum(time.monotonic() - since for since in self._started.values())
        return (self.device_seconds + running) / 3600

    @property
    def fraction(self) -> float:
        """The share of the work that is done, of all that is known so far."""
        partly = 0.0
        for job, progress in self._running.values():
            share = float(progress.get("steps_done", 0)) / max(1, int(progress.get("steps", 1)))
            partly += min(share, 1.0) * self._work[job.trial.signature]
        left = max(0, self._planned() - self.reused - len(self._work))
        each = self._all_work / max(1, len(self._work))
        # Rounding may make the work done a little larger than all of it.
        return min(1.0, (self._done_work + partly) / max(1e-9, self._all_work + left * each))

    def eta(self) -> str:
        """The remaining time; "" before a trial has ended, since the first steps include a worker's start."""
        fraction, elapsed = self.fraction, time.monotonic() - self._since
        return duration(elapsed / fraction * (1 - fraction)) if self._pace and fraction > 0.01 else ""

    def _latest(self) -> str:
        """The steps of the running trials, with their latest scores."""
        parts = []
        for job, progress in self._running.values():
            score = f", SROCC {float(progress['srocc']):.3f}" if "srocc" in progress else ""
            at = f"step {progress['steps_done']} of {progress['steps']}" if "steps" in progress else "starting"
            parts.append(f"{job.run.name}, split {job.trial.fold.split}: {at}{score}")
        return "; ".join(parts[:MAX_NAMED]) + (f"; {len(parts) - MAX_NAMED} more" if len(parts) > MAX_NAMED else "")

    def _line(self) -> str:
        means = ((total / number, number, name) for name, (total, number) in self._scores.items())
        best = max(means, default=None)
        parts = [
            f"{self.done}/{count(self._planned(), 'trial')}",
            *([f"{self.failed} failed"] if self.failed else []),
            *([self.waiting] if self.waiting else []),
            *([f"best so far {best[2]} {best[0]:.3f} (n={best[1]})"] if best else []),
            f"device time {device_time(self.device_hours)}",
            f"{duration(time.monotonic() - self._since)} elapsed",
            *([f"{left} remaining"] if (left := self.eta()) else []),
        ]
        return ", ".join(parts)

    def _print(self, what: str) -> None:
        self._last = time.monotonic()
        self._console.print(f"{what} | {self._line()}", markup=False, highlight=False, soft_wrap=True)

    def _display(self) -> Group:
        rows = Table.grid(padding=(0, 2))
        for job, progress in self._running.values():
            done, steps = int(progress.get("steps_done", 0)), int(progress.get("steps", 1))
            score = f"SROCC {float(progress['srocc']):.3f}" if "srocc" in progress else ""
            rows.add_row(
                f"  {job.run.name}",
                f"split {job.trial.fold.split}",
                ProgressBar(total=steps, completed=done, width=24),
                str(progress.get("phase", "starting")),
                score,
            )
        return Group(Text(f"{self._title}: {self._line()}", style="bold"), rows)
