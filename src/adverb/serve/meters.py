"""What is counted, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Meters:
    """Counters of one server, in a registry of their own."""

    def __init__(self):
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "adverb_requests", "Requests answered; 499: the client left", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "adverb_request_seconds", "From the first byte to the answer", ["route"], buckets=SECONDS, registry=registry
        )
        self.running = Gauge("adverb_requests_running", "Requests being answered", registry=registry)
        self.queued = Gauge("adverb_queue_tokens", "Tokens waiting for a model", registry=registry)
        self.refused = Counter("adverb_queue_refused", "Requests that found the queue full", registry=registry)
        self.dropped = Counter("adverb_queue_dropped", "Texts whose request ended before their turn", registry=registry)
        self.rows = Histogram("adverb_batch_rows", "Texts a batch", ["model"], buckets=ROWS, registry=registry)
        self.tokens = Counter("adverb_tokens", "Tokens read", ["model"], registry=registry)
        self.busy = Counter("adverb_busy_seconds", "Time in a model", ["model"], registry=registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def batch(self, model: str, rows: int, tokens: int, seconds: float) -> None:
        self.rows.labels(model).observe(rows)
        self.tokens.labels(model).inc(tokens)
        self.busy.labels(model).inc(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)
