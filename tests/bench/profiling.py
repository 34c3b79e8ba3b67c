"""Where a subject's processor time goes."""

from rich.console import Console
from rich.table import Table

from tests.bench.testbed import Testbed
from tests.bench.throughput import Subject, execute

__all__ = ["run"]


def run(bed: Testbed, subject: Subject, console: Console) -> None:
    """Print the lines and the functions of one run that took the most."""
    for result in execute(subject, bed, watch="profile"):
        found, events = result["watched"], result["count"]
        elsewhere_s = found["total_s"] - found["sampled_s"]
        seconds = result["steps"][-1][0] - result["began_s"]
        console.print(
            f"{subject.title}: {events:,} events in {seconds:.1f} s; {found['total_s']:.1f} s of processor time, "
            f"start-up included, {elsewhere_s:.1f} s of it in threads that run no Python, or between two looks"
        )
        for title in ("lines", "functions"):
            table = Table("us/event", "%", title[:-1], title=f"{title}, {ABOUT[title]}")
            for place, seconds in found[title]:
                table.add_row(f"{seconds / events * 1e6:.2f}", f"{seconds / found['total_s']:.1%}", place)
            console.print(table)


ABOUT = {"lines": "with the calls into C they make", "functions": "with all that they call"}
