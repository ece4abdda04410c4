"""The machine: what it is, and how busy other processes keep it."""

import os
import platform
import time
from pathlib import Path
from typing import Any

_STATISTICS = Path("/proc/stat")
_PROCESSORS = Path("/proc/cpuinfo")


def describe() -> dict[str, Any]:
    """The processor by its name, and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    if _PROCESSORS.exists():
        lines = _PROCESSORS.read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line[:10] == "model name"]
        name = models[0] if models else name
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return {"system": platform.system(), "cpu": name, "cores": cores}


def load() -> float | None:
    """How many processes wanted to run over the last minute (None where it is not known)."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


class Watch:
    """The time since it was made, and how busy other processes kept the cores meanwhile."""

    def __init__(self) -> None:
        self.busy, self.own, self.start = _busy(), time.process_time(), time.perf_counter()

    def stop(self) -> tuple[float, float]:
        """Seconds, and the others' share of all cores (0 where the system does not say)."""
        seconds = time.perf_counter() - self.start
        others = (_busy() - self.busy) - (time.process_time() - self.own)
        return seconds, max(0.0, others) / (seconds * (os.cpu_count() or 1))


def wait_until_calm(share: float) -> None:
    """Wait until other processes take no more than this share of the cores."""
    while share < 1.0:
        watch = Watch()
        time.sleep(0.5)
        if watch.stop()[1] <= share:
            return


def _busy() -> float:
    """The time that all cores together have worked since the system started."""
    if not _STATISTICS.exists():
        return 0.0
    first = _STATISTICS.read_text().partition("\n")[0]
    user, nice, system, _idle, _wait, *rest = map(int, first.split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
