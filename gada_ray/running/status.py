"""What a study is doing, for people: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gada_ray.study.price import Cost, trial_work, work
from gada_ray.study.search import Job
from gada_ray.trials.identity import Progress
from gada_ray.trials.store import Result

PICTURE_EVERY_S = 0.2
"""Between two pictures on a terminal."""
PLAIN_EVERY_S = 30.0
"""Between two plain lines, where no trial ended."""
MOST_NAMED = 4
"""Running trials in a plain line."""
WAITING_S = 5.0
"""For how long a trial waits for a worker before the status says so."""
STRAGGLES, AT_LEAST_S, LIKE = 4.0, 60.0, 3
"""A trial is named that takes so many times as long as others of its size, and so long; from so many others on."""


class Watcher:
    """Is told what happens to trials; does nothing about it."""

    def waits(self, job: Job) -> None:
        """A trial asks for a worker."""

    def started(self, job: Job) -> None:
        """A worker has begun with a trial."""

    def progress(self, job: Job, progress: Progress) -> None:
        """A trial reported."""

    def told(self, job: Job, message: str) -> None:
        """Something went wrong with a trial that people should know of."""

    def left(self, job: Job) -> None:
        """A worker is through with a trial, whether it is done, broke off or was ended."""

    def counted(self, count: int) -> None:
        """So many trials at a time fit the nodes now."""

    def tick(self) -> None:
        """Time passes."""


class Status(Watcher):
    """Counts trials and estimates the time that is left from the work that was done so far."""

    def __init__(
        self,
        console: Console,
        title: str,
        upcoming: Iterable[Job],
        planned: Callable[[], int],
        asked: str = "a worker",
        cost: Cost = work,
    ) -> None:
        """Start the clock.

        `upcoming` are the jobs known so far; `planned` counts the trials of the study, as far as can be known; `asked`
        is what a trial waits for; `cost` is that of a configuration less some first phases, in whatever unit.
        """
        self._asked, self._cost = asked, cost
        self._console, self._title, self._planned = console, title, planned
        self._since = self._last = time.monotonic()
        self._work = trial_work((job.trial for job in upcoming), cost)
        self._all_work = sum(self._work.values())
        self._done_work = 0.0
        self._running: dict[str, tuple[Job, Progress]] = {}
        self._waiting: dict[str, float] = {}
        """Since when, by signature, trials wait for a worker."""
        self._started: dict[str, float] = {}
        """Since when, by signature, trials run."""
        self._pace: list[float] = []
        """Seconds for a unit of work, of trials that are done."""
        self._named: set[str] = set()
        """Trials that were said to take long."""
        self._slots: int | None = None
        self.done = self.reused = self.failed = 0
        self.device_seconds = 0.0
        self._scores: dict[str, tuple[float, int]] = {}
        """By configuration: the sum of its scores, and how many they are."""
        self._learns = False
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
        """A trial asks for a worker."""
        if job.trial.signature not in self._work:
            self._work[job.trial.signature] = self._cost(job.trial.config, 0)
            self._all_work += self._work[job.trial.signature]
        self._waiting[job.trial.signature] = time.monotonic()

    def started(self, job: Job) -> None:
        """A worker has begun with a trial."""
        self._waiting.pop(job.trial.signature, None)
        self._running[job.trial.signature] = (job, {})
        self._started[job.trial.signature] = time.monotonic()

    def left(self, job: Job) -> None:
        """A worker is through with a trial, in whatever way."""
        self._waiting.pop(job.trial.signature, None)
        self._running.pop(job.trial.signature, None)
        since = self._started.pop(job.trial.signature, None)
        if since is not None:
            seconds = time.monotonic() - since
            self.device_seconds += seconds
            self._pace.append(seconds / self._work[job.trial.signature])

    def counted(self, count: int) -> None:
        """So many trials at a time fit the nodes now."""
        if self._slots is not None:
            self._print(f"the nodes hold {count} trials at a time now, {self._slots} before")
        self._slots = count

    def progress(self, job: Job, progress: Progress) -> None:
        """A trial reported."""
        if job.trial.signature in self._running:
            before = self._running[job.trial.signature][1]
            # Scores come less often than losses.
            self._running[job.trial.signature] = (job, {**before, **progress})
            if not self._live and "srocc" in progress and not self._learns:
                self._learns = True
                self._print(f"training, {self._latest()}")

    def told(self, job: Job, message: str) -> None:
        """Something went wrong with a trial that people should know of."""
        text = f"{job.run.name}, split {job.trial.fold.split}: {message}"
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def ended(self, job: Job, result: Result | None, known: bool) -> None:
        """A trial is through, or was found in the store."""
        signature = job.trial.signature
        self.done += 1
        self.reused += known
        failed = result is None or result.status != "finished"
        self.failed += failed
        if result is not None and not failed:
            total, count = self._scores.get(job.run.name, (0.0, 0))
            self._scores[job.run.name] = total + result.metrics["srocc"], count + 1
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
        """Show the present state; to be called often."""
        self._name_stragglers()
        since = time.monotonic() - self._last
        if self._live and since > PICTURE_EVERY_S:
            self._last = time.monotonic()
            self._live.update(self._picture(), refresh=True)
        elif not self._live and since > PLAIN_EVERY_S:
            self._print(f"training, {self._latest()}" if self._running else "training")

    def _name_stragglers(self) -> None:
        """Name trials that take many times as long as others of their size, once each."""
        if len(self._pace) < LIKE:
            return
        pace, now = statistics.median(self._pace), time.monotonic()
        for signature, since in self._started.items():
            usual = pace * self._work[signature]
            if signature not in self._named and now - since > max(AT_LEAST_S, STRAGGLES * usual):
                self._named.add(signature)
                job, _ = self._running[signature]
                self.told(job, f"has run for {duration(now - since)}, others of its size take {duration(usual)}")

    @property
    def waiting(self) -> str:
        """How many trials wait for a worker, for what, and for how long; "" if none does for long."""
        now = time.monotonic()
        waits = [now - since for since in self._waiting.values() if now - since > WAITING_S]
        return f"{len(waits)} waiting for {self._asked}, {duration(max(waits))}" if waits else ""

    @property
    def hours(self) -> float:
        """Since the study started."""
        return (time.monotonic() - self._since) / 3600

    @property
    def device_hours(self) -> float:
        """Used by workers that are through with a trial, and by those that train; waiting for one costs nothing."""
        running = sum(time.monotonic() - since for since in self._started.values())
        return (self.device_seconds + running) / 3600

    @property
    def fraction(self) -> float:
        """Share of the work that is done, of what is known to be needed."""
        partly = 0.0
        for job, progress in self._running.values():
            share = float(progress.get("steps_done", 0)) / max(1, int(progress.get("steps", 1)))
            partly += min(share, 1.0) * self._work[job.trial.signature]
        left = max(0, self._planned() - self.reused - len(self._work))
        each = self._all_work / max(1, len(self._work))
        # Rounding may leave a hair more done than there is.
        return min(1.0, (self._done_work + partly) / max(1e-9, self._all_work + left * each))

    def eta(self) -> str:
        """Time left, or "?" while too little is done to tell."""
        fraction, elapsed = self.fraction, time.monotonic() - self._since
        return duration(elapsed / fraction * (1 - fraction)) if fraction > 0.01 else "?"

    def _latest(self) -> str:
        """How far the running trials are, with their latest scores."""
        parts = []
        for job, progress in self._running.values():
            score = f", SROCC {float(progress['srocc']):.3f}" if "srocc" in progress else ""
            at = f"step {progress['steps_done']} of {progress['steps']}" if "steps" in progress else "starting"
            parts.append(f"{job.run.name}, split {job.trial.fold.split}: {at}{score}")
        return "; ".join(parts[:MOST_NAMED]) + (f"; {len(parts) - MOST_NAMED} more" if len(parts) > MOST_NAMED else "")

    def _line(self) -> str:
        means = ((total / count, count, name) for name, (total, count) in self._scores.items())
        best = max(means, default=None)
        parts = [
            f"{self.done}/{self._planned()} trials",
            *([f"{self.failed} failed"] if self.failed else []),
            *([self.waiting] if self.waiting else []),
            *([f"best so far {best[2]} {best[0]:.3f} (n={best[1]})"] if best else []),
            f"{self.device_hours:.2f} device-hours",
            f"{duration(time.monotonic() - self._since)} gone, {self.eta()} to go",
        ]
        return ", ".join(parts)

    def _print(self, what: str) -> None:
        self._last = time.monotonic()
        self._console.print(f"{what} | {self._line()}", markup=False, highlight=False, soft_wrap=True)

    def _picture(self) -> Group:
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


def duration(seconds: float) -> str:
    """Seconds for people: "45 s", "12 min", "3.4 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
