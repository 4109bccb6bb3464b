"""What the service counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from imagetrail.service.answering import Answered

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Figures:
    """Of one service, in a registry of its own."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "imagetrail_requests", "Requests.", ["path", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "imagetrail_request_seconds",
            "From a request's first line to its answer.",
            ["path"],
            registry=registry,
            buckets=SECONDS,
        )
        self._model_seconds = Histogram(
            "imagetrail_model_seconds",
            "Decoding and the model, of one request.",
            registry=registry,
            buckets=SECONDS,
        )
        self._classes = Counter(
            "imagetrail_answers", "Pictures by answer.", ["class", "unsure"], registry=registry
        )
        self._refused = Counter(
            "imagetrail_refused_pictures", "Pictures that could not be read.", registry=registry
        )
        Gauge(
            "imagetrail_waiting_requests", "Whole and not answered yet.", registry=registry
        ).set_function(waiting)

    def request(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(path, str(status)).inc()
        self._request_seconds.labels(path).observe(seconds)

    def answered(self, found: Answered) -> None:
        for answer in found.answers:
            self._classes.labels(answer.ranked[0][0], str(answer.unsure).lower()).inc()
        self._refused.inc(len(found.results) - len(found.answers))
        self._model_seconds.observe(found.seconds)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)
