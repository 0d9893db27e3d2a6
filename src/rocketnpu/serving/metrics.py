"""What Prometheus may ask: how many requests, how long, how much waits. No value comes from a client's words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rocketnpu.serving.pool import Pool

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST
NO_MODEL = ""
"""The label of a request that named no model of ours."""


class Metrics:
    """The figures of one server. Works from any thread."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        """Begin at zero; waiting inferences and working workers are looked up when asked for."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "rocketnpu_requests", "Inference requests by HTTP status.", ["model", "status"], registry=self._registry
        )
        self._request_seconds = Histogram(
            "rocketnpu_request_seconds",
            "From a request's head to its answer.",
            ["model"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        inference = Histogram(
            "rocketnpu_inference_seconds",
            "An inference itself, on its worker.",
            ["model"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._frames = Counter(
            "rocketnpu_frigate_requests", "Frigate's requests by outcome.", ["outcome"], registry=self._registry
        )
        waiting = Gauge("rocketnpu_waiting", "Inferences in the queue.", ["model"], registry=self._registry)
        working = Gauge("rocketnpu_workers", "Workers whose device works.", ["model"], registry=self._registry)
        for pool in pools:
            pool.observe = inference.labels(pool.name).observe
            waiting.labels(pool.name).set_function(partial(getattr, pool, "waiting"))
            working.labels(pool.name).set_function(partial(getattr, pool, "working"))

    def answered(self, model: str, status: int, seconds: float) -> None:
        """Count an inference request."""
        self._requests.labels(model, str(status)).inc()
        self._request_seconds.labels(model).observe(seconds)

    def frame(self, outcome: str) -> None:
        """Count a request of Frigate's."""
        self._frames.labels(outcome).inc()

    def page(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
