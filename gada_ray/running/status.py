"""What a study is doing, for people: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gada_ray.store import Result
from gada_ray.study.price import job_work, work
from gada_ray.study.search import Job
from gada_ray.trial import Progress

PICTURE_EVERY_S = 0.2
"""Between two pictures on a terminal."""
PLAIN_EVERY_S = 30.0
"""Between two plain lines, where no trial ended."""


class Status:
    """Counts trials and estimates the time that is left from the work that was done so far."""

    def __init__(self, console: Console, title: str, upcoming: Iterable[Job], planned: Callable[[], int]) -> None:
        """Start the clock.

        `upcoming` are the jobs known so far; `planned` counts the trials of the study, as far as can be known.
        """
        self._console, self._title, self._planned = console, title, planned
        self._since = self._last = time.monotonic()
        self._work = dict(job_work(upcoming, ()))
        self._all_work = sum(self._work.values())
        self._done_work = 0.0
        self._running: dict[str, tuple[Job, Progress]] = {}
        self._started: dict[str, float] = {}
        self.done = self.reused = self.failed = 0
        self.device_seconds = 0.0
        self._scores: dict[str, tuple[float, int]] = {}
        """By configuration: the sum of its scores, and how many they are."""
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Status:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def started(self, job: Job) -> None:
        """A trial was handed to a worker."""
        if job.trial.signature not in self._work:
            self._work[job.trial.signature] = work(job.trial.config)
            self._all_work += self._work[job.trial.signature]
        self._running[job.trial.signature] = (job, {})
        self._started[job.trial.signature] = time.monotonic()

    def progress(self, job: Job, progress: Progress) -> None:
        """A trial reported."""
        if job.trial.signature in self._running:
            self._running[job.trial.signature] = (job, progress)

    def told(self, job: Job, message: str) -> None:
        """Something went wrong with a trial that people should know of."""
        text = f"{job.run.name}, split {job.trial.fold.split}: {message}"
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def ended(self, job: Job, result: Result | None, known: bool) -> None:
        """A trial is through, or was found in the store."""
        signature = job.trial.signature
        self._running.pop(signature, None)
        self._started.pop(signature, None)
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
        self.device_seconds += result.run.seconds if result else 0.0
        if not self._live:
            outcome = (
                "failed" if result is None else result.status if failed else f"SROCC {result.metrics['srocc']:.3f}"
            )
            cause = f" ({result.cause})" if result and result.cause else ""
            self._print(f"{job.run.name}, split {job.trial.fold.split}: {outcome}{cause}")

    def tick(self) -> None:
        """Show the present state; to be called often."""
        since = time.monotonic() - self._last
        if self._live and since > PICTURE_EVERY_S:
            self._last = time.monotonic()
            self._live.update(self._picture(), refresh=True)
        elif not self._live and since > PLAIN_EVERY_S:
            self._print("training")

    @property
    def hours(self) -> float:
        """Since the study started."""
        return (time.monotonic() - self._since) / 3600

    @property
    def device_hours(self) -> float:
        """Used by trials that ended, and by those that run."""
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
        return (self._done_work + partly) / max(1e-9, self._all_work + left * each)

    def eta(self) -> str:
        """Time left, or "?" while too little is done to tell."""
        fraction, elapsed = self.fraction, time.monotonic() - self._since
        return duration(elapsed / fraction * (1 - fraction)) if fraction > 0.01 else "?"

    def _line(self) -> str:
        means = ((total / count, count, name) for name, (total, count) in self._scores.items())
        best = max(means, default=None)
        parts = [
            f"{self.done}/{self._planned()} trials",
            *([f"{self.failed} failed"] if self.failed else []),
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
