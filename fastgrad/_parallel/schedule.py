"""Has work done here or by workers, so that no second is wasted and nothing is done twice."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

from fastgrad._parallel import cost
from fastgrad._parallel.payload import MISSING, Payload, UnsendableError, call
from fastgrad._parallel.pools import Pool
from fastgrad._parallel.team import SERIAL, Team

_logger = logging.getLogger("fastgrad")

FIRST_LOOK = 5e-4
"""Seconds after which a first evaluation that still runs is known to be slow."""

SECOND_LOOK = 3e-3
"""Seconds of work here after which the pace of a fast f is believed."""

PIECE = 0.1
"""Seconds of work that are done here at a time."""

PATIENCE = 5.0
"""Seconds that calls under way get to end after an error."""


class Unwanted(Exception):  # noqa: N818, no error
    """Raised by a source that wants no more results."""


class Source(Protocol):
    """Names tasks and takes their results: with the `count` of evaluations and their `seconds`."""

    @property
    def left(self) -> int:
        """About how many evaluations have not been handed out."""

    def take(self, evaluations: int) -> Any:
        """Return the next task, of about so many evaluations."""

    def give(self, task: Any, result: Any) -> None:
        """Take the result of a task; raise what went wrong in it."""


@dataclass
class Spent:
    """What evaluating has cost, and who worked."""

    here: int = 0  # evaluations in this process
    there: int = 0  # and by workers
    seconds: float = 0.0  # that all of them together took
    team: Team = SERIAL


class Schedule:
    """Has the tasks of a source done, here or by a team.

    `nogil` says that `work` computes without Python's lock, and `shared` that threads may call
    `work` itself, not a copy. `update` is told how many evaluations are done.
    """

    def __init__(
        self,
        work: Callable[[Any], Any],
        source: Source,
        team: Team,
        spent: Spent,
        *,
        nogil: bool = False,
        shared: bool = True,
        update: Callable[[int], Any] | None = None,
    ) -> None:
        self.work, self.source, self.team, self.spent = work, source, team, spent
        self.nogil, self.shared, self.update = nogil, shared, update
        self.pace, self._cpu_share, self._missed = 0.0, 1.0, 0.0
        self._pool: Pool | None = None
        self._payload: Payload | None = None
        self._pending: dict[Future[Any], tuple[Any, int]] = {}
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._sent = 0

    @contextlib.contextmanager
    def beside(self, *, alone: bool = False) -> Iterator[None]:
        """Hand work out while the block makes a first evaluation here, if that turns out slow.

        Not so if that has to be made `alone`, or by threads: they would see what it does to x.
        """
        alone = alone or self.team is SERIAL or self.team.in_threads or not self.source.left
        try:
            with contextlib.nullcontext() if alone else self._watched():
                start = time.perf_counter()
                yield
                seconds = time.perf_counter() - start
        except BaseException:  # Ctrl-C: what has been handed out must not go on.
            self.give_up(bounded=False)
            raise
        self.pace = 0.0  # What was known while it ran is less.
        self._note(1, seconds)
        self.spent.here += 1

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=[ended], daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()

    def _watch(self, ended: threading.Event) -> None:
        """Hand work out once an earlier call, or the evaluation that runs, shows that this pays."""
        start, cpu, share = time.perf_counter(), time.process_time(), 1.0
        while not self.pace or not self._pays(self.pace, share):
            if ended.wait(FIRST_LOOK):
                return
            self.pace = time.perf_counter() - start
            share = min(1.0, (time.process_time() - cpu) / self.pace)
        self.pace = max(self.pace, cost.SLOW)  # each task is one evaluation
        with contextlib.suppress(Exception):  # Tried again when x is in its place.
            self._hand_out()

    def run(self) -> None:
        """Have all tasks done."""
        try:
            if self._pool is None:
                self._here()
            if self.source.left or self._pending:
                self._begin()
                self._collect()
            _logger.debug(
                "%s: %d evaluations here, %d by %d workers", self.spent.team.name,
                self.spent.here, self.spent.there, self.spent.team.workers,
            )  # fmt: skip
        except Unwanted:
            self.forget()
            raise
        except BaseException as error:
            self.give_up(bounded=isinstance(error, Exception))
            raise

    def _note(self, count: int, seconds: float) -> None:
        pace = seconds / max(count, 1)
        self.pace = pace if not self.pace else min(self.pace, pace)
        self.spent.seconds += seconds

    def _here(self) -> None:
        """Do tasks here until none is left, or until handing out pays."""
        # A first call may be slow for reasons of its own: one is believed only where it is long.
        size, sure = self._piece(1), self.pace >= cost.SLOW
        if self.team is not SERIAL and self.pace and not sure:
            size = min(size, max(2, int(SECOND_LOOK / self.pace)))
        while self.source.left:
            # The clock of the cores is slow to read: not where workers could not help anyway.
            shared = sure and self.team is not SERIAL and self._saves(self.pace, 0.0) > 0
            if shared and self._pays(self.pace, self._cpu_share):
                return
            cpu = time.process_time() if shared else 0.0
            result = self._do(self.source.take(size))
            self._note(result.count, result.seconds)
            if shared:
                self._cpu_share = min(1.0, (time.process_time() - cpu) / result.seconds)
            size, sure = self._piece(size), sure or result.count > 1
        if self._missed and not self.team.warm:
            cost.note_missed(self._missed)

    def _piece(self, size: int) -> int:
        """Return how many evaluations to do here before looking up again."""
        return max(1, int(PIECE / self.pace)) if self.pace else 4 * size

    def _saves(self, pace: float, cpu_share: float) -> float:
        return self.team.saves(pace, self.source.left, cpu_share, self.nogil)

    def _pays(self, pace: float, cpu_share: float) -> bool:
        """Tell whether to hand out what is left, and log why."""
        saved, team = self._saves(pace, cpu_share), self.team
        pays = team.pays(saved)
        self._missed = max(self._missed, saved)
        _logger.debug(
            "%s: %d workers (%s) would save %.3g s of %d evaluations of %.3g s",
            team.name if pays else "serial", team.workers, team.name, saved, self.source.left, pace,
        )  # fmt: skip
        return pays

    def _do(self, task: Any) -> Any:
        """Do a task here."""
        result = self.work(task)
        self.spent.here += result.count
        self._give(task, result)
        return result

    def _give(self, task: Any, result: Any) -> None:
        self.source.give(task, result)
        if self.update is not None:
            self.update(result.count)

    def _begin(self) -> None:
        """Hand work out, to threads where it cannot be sent to processes."""
        try:
            self._hand_out()
        except UnsendableError as error:
            self.team = Team(self.team.workers, "threads", "threads") if self.shared else SERIAL
            self.spent.team = self.team
            _logger.warning("%s; it runs %s", error, "on threads" if self.shared else "serially")
            if self.team is SERIAL:
                self._here()
            else:
                self._hand_out()

    def _hand_out(self) -> None:
        """Give the workers as many tasks as they will need soon."""
        if self._pool is None:
            pool = self.team.open()
            self._payload = Payload(self.work, shared=pool.shares_memory and self.shared)
            self._pool, self.spent.team = pool, self.team
        most = 3 * self.team.workers + 8 if self._pool.warm else 2 * self.team.workers
        while self.source.left and len(self._pending) < most:
            size = cost.task_size(self.source.left, self.team.workers, self.pace)
            self._submit(self.source.take(size))

    def _submit(self, task: Any, *, content: bool = False, lost: int = 0) -> None:
        assert self._pool is not None
        assert self._payload is not None
        # The first tasks bring the work along; a worker that got none of them asks for it.
        content = content or self._payload.shared or self._sent < self.team.workers
        self._sent += 1
        future: Future[Any] = Future()
        try:
            future = self._pool.submit(
                call, self._payload.token, self._payload.content if content else None, task
            )
        except Exception as error:
            # A pool that is broken, or that another thread has ended, raises RuntimeError.
            broken = isinstance(error, RuntimeError) and not self._pool.survives
            future.set_exception(BrokenExecutor(str(error)) if broken else error)
        self._pending[future] = task, lost
        future.add_done_callback(self._done.put)

    def _collect(self) -> None:
        """Take results as they come, and hand out what is left."""
        while self._pool is not None and self._pending:
            if not self._pool.warm and self._done.empty() and self.source.left:
                # The workers are still starting.
                size = cost.task_size(self.source.left, self.team.workers, self.pace)
                self._do(self.source.take(size))
                continue
            future = self._pool.next_done(self._done)
            if future not in self._pending:
                continue
            task, lost = self._pending.pop(future)
            try:
                result = future.result()
            except self._pool.lost as error:  # Cancelled: another thread has ended the workers.
                self._hand_out_again(task, lost + 1, error)
                continue
            if isinstance(result, str) and result == MISSING:
                self._submit(task, content=True)
                continue
            self.spent.there += result.count
            self.spent.seconds += result.seconds
            self.pace = min(self.pace, result.seconds / max(1, result.count))
            self._give(task, result)
            self._hand_out()

    def _hand_out_again(self, task: Any, lost: int, cause: BaseException) -> None:
        """Give the tasks of workers that were killed to others, as often as the pool allows."""
        assert self._pool is not None
        _logger.warning("workers were lost: %r", cause)
        tasks, retries = [(task, lost)], self._pool.retries
        if not self._pool.survives:
            tasks += [(other, tries + 1) for other, tries in self._pending.values()]
            self._pending.clear()  # Not cancelled: a pool that breaks stumbles over such futures.
            self._pool.abandon()
        if lost > retries:
            raise RuntimeError(
                f"workers were killed again and again, {len(tasks)} tasks are missing: out of "
                "memory, or does f end its process? Pass fewer workers, or workers=1 to see the "
                "reason"
            ) from cause
        if not self._pool.survives:
            self._pool, self._sent, self._done = self.team.open(), 0, SimpleQueue()
        for again, tries in tasks:
            self._submit(again, content=True, lost=tries)

    def forget(self) -> None:
        """Cancel what waits, and ignore what is under way: slow evaluations, one a task."""
        self.spent.there += sum(not future.cancel() for future in self._pending)
        self._pending.clear()

    def give_up(self, *, bounded: bool) -> None:
        """Cancel what waits; give what is under way some time to end, if `bounded`."""
        if self._pool is None:
            return
        running = list(self._pending)
        self._pending.clear()
        if bounded:
            running = [future for future in running if not future.cancel()]
            running = list(wait(running, timeout=PATIENCE).not_done)
        if running or not (bounded or self._pool.warm):  # Ctrl-C while they start: end them, too
            self._pool.abandon()
