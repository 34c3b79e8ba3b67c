"""Fetch the Java servers once, into a cache all stacks of a user share.

Every artifact is a directory `<cache>/<name>-<version>`. It is put together beside its place and moved there
by one rename, so a directory that exists is complete however the last attempt ended.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

from deploy.local.errors import StackError
from deploy.local.state import exclusive

__all__ = ["KAFKA_VERSION", "REGISTRY_VERSION", "cache_directory", "kafka_jars", "registry_app"]

KAFKA_VERSION = "4.1.1"
LOG4J_VERSION = "2.24.3"
REGISTRY_VERSION = "3.3.3"

# The trailing "!" keeps jgo from applying one artifact's managed versions to the others: log4j's would
# bring kafka-clients 3.8.0 into a 4.1.1 broker.
KAFKA_COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}!",
    f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}!",
    f"org.apache.logging.log4j:log4j-core:{LOG4J_VERSION}!",
)

Report = Callable[[str], None]
MEGABYTE = 1_000_000
PROGRESS_STEP = 10 * MEGABYTE
FILES_STEP = 10


def cache_directory() -> Path:
    """Where artifacts are kept: SPENDLOOP_CACHE, or the user's cache directory."""
    chosen = os.environ.get("SPENDLOOP_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "spendloop"


def kafka_jars(report: Report) -> Path:
    """The directory that holds Kafka's jar files, fetched if need be. Raises StackError."""
    return _cached(f"kafka-{KAFKA_VERSION}", _fetch_kafka, report)


def registry_app(report: Report) -> Path:
    """The directory of the schema registry's `quarkus-run.jar`, fetched if need be. Raises StackError."""
    return _cached(f"apicurio-registry-{REGISTRY_VERSION}", _fetch_registry, report)


def _cached(name: str, fetch: Callable[[MavenContext, Path, Report], None], report: Report) -> Path:
    """The cached directory `name`; `fetch(context, target, report)` fills it when it is missing."""
    place = cache_directory() / name
    if place.exists():
        return place
    lock = place.with_name(f"{name}.lock")
    with exclusive(lock, lambda: report(f"waiting for another download of {name}")):
        if not place.exists():
            report(f"fetching {name} (once, into {place.parent})")
            _fetch_into(place, fetch, report)
    return place


def _fetch_into(place: Path, fetch: Callable[[MavenContext, Path, Report], None], report: Report) -> None:
    for abandoned in place.parent.glob(f"{place.name}.partial-*"):
        shutil.rmtree(abandoned)
    try:
        with tempfile.TemporaryDirectory(prefix=f"{place.name}.partial-", dir=place.parent) as work:
            context = MavenContext(
                repo_cache=Path(work) / "repository",
                resolver=PythonResolver(progress_callback=_progress(place.name, report)),
                timeout=30,
            )
            target = Path(work) / "target"
            target.mkdir()
            fetch(context, target, report)
            target.rename(place)
    # jgo raises many types: whatever went wrong, the user needs the same three facts.
    except Exception as error:
        raise StackError(
            f"Could not fetch {place.name}: {error or type(error).__name__}\n"
            "Is the Maven repository reachable from here (HTTPS_PROXY names a proxy), and is there room on "
            f"the disk? Nothing incomplete was kept in {place.parent}; run the command again."
        ) from error


def _fetch_kafka(context: MavenContext, target: Path, _report: Report) -> None:
    inputs, transitive = context.resolver.resolve([context.create_dependency(c) for c in KAFKA_COORDINATES])
    for dependency in (*inputs, *transitive):
        jar = dependency.artifact.resolve()
        if not zipfile.is_zipfile(jar):
            raise OSError(f"{jar.name} arrived damaged")
        jar.rename(target / jar.name)


def _fetch_registry(context: MavenContext, target: Path, report: Report) -> None:
    component = context.project("io.apicurio", "apicurio-registry-app").at_version(REGISTRY_VERSION)
    archive = component.artifact("all", "tar.gz").resolve()
    report(f"unpacking the schema registry {REGISTRY_VERSION}")
    with tarfile.open(archive) as unpacked:
        # Python before 3.11.4 has no filters, nor reads this attribute.
        unpacked.extraction_filter = getattr(tarfile, "data_filter", None)
        unpacked.extractall(target)  # noqa: S202


def _progress(name: str, report: Report) -> Callable[[str, int], object]:
    """jgo's hook for progress: a report every ten files, and every ten megabytes of a large one."""
    files = 0

    @contextmanager
    def follow(filename: str, size: int) -> Iterator[Callable[[int], None]]:
        nonlocal files
        files += 1
        received = 0
        if files % FILES_STEP == 0:
            report(f"{name}: {files} files so far")

        def update(count: int) -> None:
            nonlocal received
            before, received = received, received + count
            if received // PROGRESS_STEP > before // PROGRESS_STEP:
                report(f"{filename}: {received // MEGABYTE} of {size // MEGABYTE} MB")

        yield update

    return follow
