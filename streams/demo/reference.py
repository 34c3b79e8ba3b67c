"""What the demo has to print, worked out from the file alone, with none of the product's code."""

import csv
import gzip
from collections import defaultdict
from importlib.metadata import distribution

__all__ = ["reference_credit"]


def reference_credit() -> dict[str, dict[str, tuple[float, float]]]:
    """Conversions and value by model and channel."""
    credit: dict[str, dict[str, list[float]]] = {
        model: defaultdict(lambda: [0.0, 0.0]) for model in ("first", "last", "linear")
    }
    with gzip.open(str(distribution("mta").locate_file("mta/data/data.csv.gz")), "rt") as lines:
        for row in csv.DictReader(lines):
            path = row["path"].split(" > ")
            for model, touched in (("first", path[:1]), ("last", path[-1:]), ("linear", path)):
                for channel in touched:
                    credit[model][channel][0] += int(row["total_conversions"]) / len(touched)
                    credit[model][channel][1] += float(row["total_conversion_value"]) / len(touched)
    return {model: {name: (c, v) for name, (c, v) in found.items()} for model, found in credit.items()}
