"""`spendloop worker ROLE` and `spendloop load`: the long-running processes."""

import logging
import signal
import threading
from collections.abc import Callable
from typing import Any, get_args

import click

from streams.logs import LogFormat, logging_config, set_up_logging
from streams.metrics import RoleMetrics, serve_metrics
from streams.settings import Settings, load_settings

__all__ = ["load", "worker"]

log = logging.getLogger(__name__)

log_option = click.option(
    "--log",
    "log_format",
    type=click.Choice(get_args(LogFormat)),
    default="text",
    help="Form of the log lines.",
)
metrics_option = click.option("--metrics-port", type=int, help="Overrides metrics.port of the settings.")


@click.command()
@click.argument("role", type=click.Choice(["attribution", "credit"]))
@log_option
@metrics_option
def worker(role: str, log_format: LogFormat, metrics_port: int | None) -> None:
    """Run one role. More processes of a role share its partitions."""
    settings = load_settings()
    set_up_logging(log_format)
    if role == "credit":
        _compute_credit(settings, metrics_port)
    else:
        _attribute(settings, metrics_port, log_format)


def _attribute(settings: Settings, metrics_port: int | None, log_format: LogFormat) -> None:
    import faust

    from streams.agents.attribution import create_attribution_app

    app = create_attribution_app(settings, _metrics("attribution", settings, metrics_port))
    faust.Worker(
        app,
        loglevel="INFO",
        logging_config=logging_config(log_format),
        redirect_stdouts=False,
        quiet=True,
    ).execute_from_commandline()


def _compute_credit(settings: Settings, metrics_port: int | None) -> None:
    from streams.credit.role import ModelCredit

    should_stop = _told_to_stop()
    ModelCredit(settings, _metrics("credit", settings, metrics_port), should_stop).run()


@click.command()
@log_option
@metrics_option
def load(log_format: LogFormat, metrics_port: int | None) -> None:
    """Load every topic into ClickHouse. More processes share the partitions."""
    from streams.loader.loader import Loader

    settings = load_settings()
    set_up_logging(log_format)
    should_stop = _told_to_stop()
    loader = Loader(settings, _metrics("loader", settings, metrics_port))
    loader.run(should_stop)


def _told_to_stop() -> Callable[[], bool]:
    """Whether a signal has asked this process to end."""
    stop = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        log.info("stopping at signal %d", number)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop.is_set


def _metrics(role: str, settings: Settings, port: int | None) -> RoleMetrics:
    metrics = RoleMetrics()
    served = serve_metrics(settings.metrics.host, settings.metrics.port if port is None else port)
    log.info("%s: metrics at http://%s:%d/metrics", role, settings.metrics.host, served)
    return metrics
