"""`spendloop worker ROLE` and `spendloop load`: the long-running processes."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, get_args

import click

from streams.logs import LogFormat, logging_config, set_up_logging
from streams.metrics import RoleMetrics, serve_metrics
from streams.settings import Settings, load_settings

__all__ = ["load", "worker"]

#: Told to end, a loader has so long to come to the end of a step; one that is cut off there is repeated.
END_BUDGET_S = 20.0

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
@click.argument("role", type=click.Choice(["attribution", "credit", "totals"]))
@log_option
@metrics_option
def worker(role: str, log_format: LogFormat, metrics_port: int | None) -> None:
    """Run one role. More processes of a role share its partitions."""
    settings = load_settings()
    set_up_logging(log_format)
    if role == "credit":
        _compute_credit(settings, metrics_port)
    elif role == "totals":
        _compute_totals(settings, metrics_port)
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

    _until_told(
        lambda should_stop: ModelCredit(settings, _metrics("credit", settings, metrics_port), should_stop).run()
    )


def _compute_totals(settings: Settings, metrics_port: int | None) -> None:
    from streams.totals.role import AttributionTotals

    _until_told(
        lambda should_stop: AttributionTotals(settings, _metrics("totals", settings, metrics_port), should_stop).run()
    )


@click.command()
@log_option
@metrics_option
def load(log_format: LogFormat, metrics_port: int | None) -> None:
    """Load every topic into ClickHouse. More processes share the partitions."""
    from streams.loader.loader import Loader

    settings = load_settings()
    set_up_logging(log_format)
    _until_told(lambda should_stop: Loader(settings, _metrics("loader", settings, metrics_port)).run(should_stop))


def _until_told(run: Callable[[Callable[[], bool]], None]) -> None:
    """Run something that asks whether it should stop, until a signal says so; it has END_BUDGET_S to end then.

    It runs beside the thread that has the signals, which would not be seen inside a call to Kafka: without Kafka that
    may have no end.
    """
    told, woken = threading.Event(), threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        log.info("stopping at signal %d", number)
        told.set()
        woken.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    work: Future[None] = Future()
    work.add_done_callback(lambda done: woken.set())
    threading.Thread(target=_complete, args=(work, lambda: run(told.is_set)), daemon=True).start()
    woken.wait()
    wait([work], END_BUDGET_S)
    if not work.done():
        log.warning("ended in the middle of a step; what is not committed is worked on at the next start")
        logging.shutdown()
        os._exit(0)
    work.result()


def _complete(work: "Future[None]", run: Callable[[], None]) -> None:
    try:
        run()
    except BaseException as error:
        work.set_exception(error)
    else:
        work.set_result(None)


def _metrics(role: str, settings: Settings, port: int | None) -> RoleMetrics:
    metrics = RoleMetrics()
    served = serve_metrics(settings.metrics.host, settings.metrics.port if port is None else port)
    log.info("%s: metrics at http://%s:%d/metrics", role, settings.metrics.host, served)
    return metrics
