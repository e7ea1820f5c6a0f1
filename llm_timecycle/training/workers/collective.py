"""Workers on TensorFlow's own engine: `tf.distribute.MultiWorkerMirroredStrategy` adds up.

The strategy connects the processes and adds tensors over them. The variables are plain ones, equal
everywhere: the chief's are sent at the start, and every worker then makes the same updates from the
same sums. So the step of several workers is the step of one, with a sum in its middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.distributed.watchdog import Watchdog
from llm_timecycle.errors import TimecycleError, WorkerLostError, WorkersError
from llm_timecycle.training.workers.workers import WAITING_S, Moment, Workers

LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
"""What an operation over the workers raises where one of them is gone."""
MESSAGE_BYTES = 2000
"""Of the message of a worker that has failed, as the others receive it."""
_SIGNALS = (15, 2, 1)
"""SIGTERM, SIGINT, SIGHUP: the one that is obeyed where workers have received different ones."""


class CollectiveWorkers(Workers):
    """The workers of a cluster, connected.

    Args:
        cluster: the processes, and which of them this one is.
        strategy: over the same cluster, with one replica for each worker.
        watchdog: ends this process where a step takes far too long.
        threads: CPU threads of this worker.
    """

    def __init__(
        self, cluster: Cluster, strategy: tf.distribute.Strategy, watchdog: Watchdog, threads: int
    ) -> None:
        self.size, self.index, self.threads = cluster.size, cluster.index, threads
        self._cluster, self._strategy, self._watchdog = cluster, strategy, watchdog
        # One graph for tensors of every length: each operation over the workers is built in the
        # same order everywhere, and a new graph takes longer than the sum itself.
        self._sums: dict[tf.DType, Any] = {}

    def add(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """In a graph: the sums of each tensor over the workers."""

        def add(own: list[tf.Tensor]) -> Any:
            context = tf.distribute.get_replica_context()
            placed = [tf.identity(tensor) for tensor in own]  # on the replica's device
            return context.all_reduce(tf.distribute.ReduceOp.SUM, placed)

        sums: list[tf.Tensor] = self._strategy.run(add, (list(tensors),))
        return sums

    def add_numbers(self, numbers: Sequence[float]) -> list[float]:
        """The sums of each number over the workers, added in float64."""
        return [float(n) for n in self._add_array(np.asarray(numbers, np.float64))]

    def send(self, content: bytes) -> bytes:
        """What the chief gives, for every worker; what the others give is ignored."""
        return self._send_from(0, content)

    def send_tensors(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The chief's arrays by name, for every worker; the others give arrays of their shapes."""
        sent = {}
        for name, array in tensors.items():
            wide = np.float32 if array.dtype == np.float32 else np.int64
            own = array.astype(wide) if self.is_chief else np.zeros(array.shape, wide)
            sent[name] = self._add_array(own).astype(array.dtype)
        return sent

    def join_lanes(self, own: np.ndarray, lanes: int) -> np.ndarray:
        """All `lanes` lanes (B, ...) of what every worker has for its own."""
        joined = np.zeros((lanes, *own.shape[1:]), own.dtype)
        mine = self.own_lanes(lanes)
        joined[mine.start : mine.stop] = own
        return self._add_array(joined)

    def agree(self, moment: Moment) -> Moment:
        """The same moment for every worker: any one's signal or callback, the chief's clock."""
        own = [float(moment.signal_number == number) for number in _SIGNALS]
        own.append(float(moment.is_stopped))
        own.append(float(moment.is_plan_due and self.is_chief))
        own.append(float(moment.is_save_due and self.is_chief))
        *signals, stopped, plan, save = self._add_array(np.asarray(own, np.float64)) > 0
        asked = [number for number, is_so in zip(_SIGNALS, signals, strict=True) if is_so]
        return Moment(asked[0] if asked else None, bool(stopped), bool(plan), bool(save))

    def choose(self, is_so: bool) -> bool:
        """The chief's answer."""
        return self.add_numbers([float(is_so and self.is_chief)])[0] > 0

    @contextmanager
    def together(self, task: str, limit_s: float = WAITING_S) -> Iterator[None]:
        """A context that no worker leaves before the others, and where one fails, all do.

        Args:
            task: what is done in it, for a message. limit_s: how long it may take, in seconds.

        Raises:
            WorkerLostError: another worker has failed; it has that worker's message and exit code.
        """
        with self._watchdog.allow(task, limit_s):
            try:
                yield
            except (*LOST, WorkersError):  # everybody knows
                raise
            except Exception as error:
                code = error.exit_code if isinstance(error, TimecycleError) else 1
                self._report(code, str(error))
                raise
            self._report(0, "")

    def note_step(self, step: int, *, is_compiled: bool) -> None:
        """Tell who watches this worker that it has done `step` steps."""
        self._watchdog.beat(step, is_compiled=is_compiled)

    def note_work(self) -> None:
        """Tell who watches this worker that what `allow` allows goes on: its time begins anew."""
        with self.allow("some work"):
            pass

    def allow(self, task: str, limit_s: float = WAITING_S) -> AbstractContextManager[None]:
        """A context in which something other than a step may take so long, in seconds."""
        return self._watchdog.allow(task, limit_s)

    def explain_lost(self, error: Exception) -> WorkerLostError:
        """The error of a worker whose operation over the workers has failed."""
        named = ", ".join(
            f"{index} ({address})"
            for index, address in enumerate(self._cluster.addresses)
            if index != self.index and f"task:{index}" in str(error)
        )
        who = f"worker {named}" if named else "another worker"
        return WorkerLostError(
            f"the connection to {who} was lost. Its own output says more. Everything up to the "
            f"last checkpoint is saved: start all workers again with --resume"
        )

    def _report(self, code: int, message: str) -> None:
        """Say how this worker has fared; where another has failed, raise its error."""
        codes = np.zeros(self.size, np.float64)
        codes[self.index] = code
        try:
            codes = self._add_array(codes)
            failed = np.flatnonzero(codes)
            if len(failed) == 0:
                return
            first = int(failed[0])
            reason = self._send_from(first, message.encode()[:MESSAGE_BYTES])
        except LOST as error:
            if code:
                return  # this worker's own error says more
            raise self.explain_lost(error) from error
        if code:
            return
        where = f"worker {first} ({self._cluster.addresses[first]})"
        lost = WorkerLostError(f"{where} has stopped: {reason.decode(errors='replace')}")
        lost.exit_code = int(codes[first])
        raise lost

    def _send_from(self, index: int, content: bytes) -> bytes:
        is_mine = self.index == index
        length = int(self._add_array(np.asarray([len(content) * is_mine], np.int64))[0])
        own = np.zeros(length, np.int32)
        if is_mine:
            own[:] = np.frombuffer(content, np.uint8)
        return self._add_array(own).astype(np.uint8).tobytes()

    def _add_array(self, array: np.ndarray) -> np.ndarray:
        tensor = tf.convert_to_tensor(array.reshape(-1))
        if tensor.dtype not in self._sums:
            self._sums[tensor.dtype] = tf.function(
                lambda own: self.add([own])[0],
                input_signature=(tf.TensorSpec((None,), tensor.dtype),),
                autograph=False,
            )
        if array.size == 0:
            return array  # of nothing, TensorFlow's sum over workers ends the process
        added: np.ndarray = self._sums[tensor.dtype](tensor).numpy()
        return added.reshape(array.shape)
