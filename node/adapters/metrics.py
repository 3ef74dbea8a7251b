"""Prometheus: a page of metrics over HTTP, by the package of the extra `metrics`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from node.errors import ConfigError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.core import Metric as Family

    from node.core.metrics import Metric


class MetricsPage:
    """Shows the newest metrics; owned by the main thread, read by those of the server."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._library: Any = None
        self._newest: tuple[Metric, ...] = ()
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Load the package.

        Raises:
            ConfigError: it is not installed.
        """
        try:
            # Imported here: most nodes do without it.
            import prometheus_client.core  # noqa: PLC0415  # an optional package
        except ModuleNotFoundError as error:
            problem = (
                "metrics.enabled: the package prometheus-client is not installed; run"
                f" {sys.executable} -m pip install prometheus-client, or set it to false"
            )
            raise ConfigError([problem]) from error
        self._library = prometheus_client

    @property
    def is_open(self) -> bool:
        return self._server is not None

    def open(self) -> None:
        """Serve the page.

        Raises:
            OSError: the address is not available, perhaps because another program has the port.
        """
        registry = self._library.CollectorRegistry()
        registry.register(self)
        self._server, self._thread = self._library.start_http_server(
            self._port, self._host, registry
        )

    def show(self, metrics: Iterable[Metric]) -> None:
        """Show these from now on."""
        self._newest = tuple(metrics)

    def close(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def collect(self) -> Iterator[Family]:
        """Yield the metrics; called by the package in a thread of its server."""
        core = self._library.core
        for metric in self._newest:
            kind = core.CounterMetricFamily if metric.counter else core.GaugeMetricFamily
            labels = list(metric.values[0][0])
            family = kind(metric.name, metric.meaning, labels=labels)
            for own, value in metric.values:
                family.add_metric([own[label] for label in labels], value)
            yield family
