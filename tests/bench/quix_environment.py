"""An environment for Quix Streams, which pins an older confluent-kafka than ours. Made once, under build/."""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from tests.bench.processes import BenchmarkFailed

__all__ = ["quix_python", "versions"]

VERSION = "3.28.1"
DIRECTORY = Path("build") / f"bench-quix-{VERSION}"
PACKAGES = ("quixstreams", "confluent-kafka", "rocksdict")


def quix_python() -> str:
    """The interpreter that has it. Raises BenchmarkFailed where it cannot be had."""
    python, ready = DIRECTORY / "bin" / "python", DIRECTORY / ".ready"
    if not ready.exists():
        _run(sys.executable, "-m", "venv", "--clear", str(DIRECTORY))
        _run(str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", f"quixstreams=={VERSION}")
        ready.touch()
    return str(python)


def versions() -> dict[str, str]:
    """Of the packages in it that matter; none where it has not been made."""
    folders = [str(folder) for folder in DIRECTORY.glob("lib/python*/site-packages")]
    found = {item.name: item.version for item in distributions(path=folders)}
    return {name: found[name] for name in PACKAGES if name in found}


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BenchmarkFailed(f"quixstreams {VERSION} cannot be installed here: {''.join(said)}")
