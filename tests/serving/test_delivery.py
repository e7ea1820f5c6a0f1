"""Updates reach the event loop in rounds, and all of them do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from llm_timecycle.serving.delivery import LONGEST_WAIT_S, LOOP_SHARE, Delivery
from llm_timecycle.serving.writing.jobs import Update
from tests.serving.servers import run_coroutine

TOKEN, END = Update(None, text=0, ids=(1,)), Update(None, is_finished=True)


class FakeLoop:
    """An event loop whose time the test moves."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []
        self.later: list[tuple[float, Callable[[], object]]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        self.soon.append(lambda: callback(*arguments))

    call_soon_threadsafe = call_soon

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        self.later.append((delay_s, callback))

    def run(self) -> None:
        while self.soon:
            self.soon.pop(0)()


@pytest.mark.parametrize(
    ("spent_s", "wait_s"), [(0.0003, 0.0003 / LOOP_SHARE), (1, LONGEST_WAIT_S)]
)
def test_sending_takes_a_share_of_the_time(spent_s: float, wait_s: float) -> None:
    loop, now_s, taken = FakeLoop(), [100.0], []
    cpu_s = [0.0]

    def dispatch(updates: Sequence[Update]) -> None:
        taken.append(list(updates))
        cpu_s[0] += spent_s

    delivery = Delivery(loop, dispatch, lambda: now_s[0], lambda: cpu_s[0])
    delivery.put([TOKEN])
    loop.run()
    assert taken == [[TOKEN]]
    delivery.put([TOKEN])
    delivery.put([TOKEN])
    loop.run()
    assert len(taken) == 1
    ((delay_s, take),) = loop.later
    assert delay_s == pytest.approx(wait_s)
    take()
    assert taken == [[TOKEN], [TOKEN, TOKEN]]
    loop.run()
    now_s[0] += 1.1 * wait_s
    delivery.put([TOKEN])
    loop.run()
    assert len(taken) == 3


def test_an_end_does_not_wait() -> None:
    loop, taken = FakeLoop(), []
    delivery = Delivery(loop, lambda updates: taken.extend(updates), lambda: 0.0, lambda: 0.0)
    delivery._due_s = 1.0
    delivery.put([TOKEN])
    loop.run()
    assert taken == []
    delivery.put([END])
    loop.run()
    assert taken == [TOKEN, END]
    ((_, take),) = loop.later
    take()  # nothing is left for it
    assert taken == [TOKEN, END]


def test_nothing_is_lost_or_put_out_of_order_between_threads() -> None:
    async def receive() -> list[int]:
        received: list[int] = []
        delivery = Delivery(
            asyncio.get_running_loop(),
            lambda updates: received.extend(id for update in updates for id in update.ids),
        )

        def put() -> None:
            for id in range(5000):
                delivery.put([Update(None, ids=(id,), is_finished=id % 100 == 0)])

        thread = threading.Thread(target=put)
        thread.start()
        while len(received) < 5000:
            await asyncio.sleep(0.001)
        thread.join()
        return received

    assert run_coroutine(asyncio.wait_for(receive(), 60)) == list(range(5000))
