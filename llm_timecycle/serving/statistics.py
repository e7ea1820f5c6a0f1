"""GET /metrics: counters and histograms for Prometheus, under the names that the field uses."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from llm_timecycle.serving.writing.jobs import Job

PREFIX = "llm_timecycle"
SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LONG_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Statistics:
    """What finished requests have in common.

    Args:
        count_running, count_waiting: how many requests there are now.
    """

    def __init__(self, count_running: Callable[[], int], count_waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()

        def make_histogram(name: str, help: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, help, namespace=PREFIX, buckets=buckets, registry=self._registry)

        self._first = make_histogram(
            "time_to_first_token_seconds", "From the request to its first token.", LONG_S
        )
        self._gaps = make_histogram(
            "inter_token_latency_seconds", "From each token of a text to the next.", SHORT_S
        )
        self._queue = make_histogram(
            "request_queue_time_seconds", "From the request to the reading of its prompt.", LONG_S
        )
        self._whole = make_histogram(
            "e2e_request_latency_seconds", "From the request to its last token.", LONG_S
        )
        self._read = Counter(
            "prompt_tokens", "Tokens read.", namespace=PREFIX, registry=self._registry
        )
        self._written = Counter(
            "generation_tokens", "Tokens written.", namespace=PREFIX, registry=self._registry
        )
        self._finished = Counter(
            "request_success",
            "Texts that ended, by the reason.",
            ["finished_reason"],
            namespace=PREFIX,
            registry=self._registry,
        )
        running = Gauge(
            "num_requests_running",
            "Requests in the batch.",
            namespace=PREFIX,
            registry=self._registry,
        )
        running.set_function(count_running)
        waiting = Gauge(
            "num_requests_waiting",
            "Requests that wait for it.",
            namespace=PREFIX,
            registry=self._registry,
        )
        waiting.set_function(count_waiting)

    def note(self, job: Job) -> None:
        """Count a finished request."""
        times = job.times
        assert times.end_s is not None
        assert times.start_s is not None
        self._queue.observe(times.start_s - times.arrival_s)
        self._whole.observe(times.end_s - times.arrival_s)
        if times.first_token_s is not None:
            self._first.observe(times.first_token_s - times.arrival_s)
        for gap_s in times.token_gaps_s:
            self._gaps.observe(gap_s)
        self._read.inc(sum(len(prompt.ids) for prompt in job.prompts))
        self._written.inc(sum(len(text.ids) for text in job.texts))
        for text in job.texts:
            self._finished.labels(finished_reason=text.finish_reason).inc()

    async def answer(self, request: Request) -> Response:
        """GET /metrics."""
        return Response(
            generate_latest(self._registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )
