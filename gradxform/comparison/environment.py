"""Where and with what a comparison was made."""

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

from ..core.version import VERSION

_PACKAGES = ("jax", "jaxlib", "optax", "numpy", "scipy", "scikit-learn")


def environment() -> dict[str, Any]:
    """The date, the versions of the packages and the machine, as plain data."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "gradxform": VERSION, **_versions()},
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "device": jax.devices()[0].device_kind,
            "devices": jax.device_count(),
            "float": str(jnp.result_type(float)),
        },
    }


def _versions() -> dict[str, str | None]:
    def version(name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    return {name: version(name) for name in _PACKAGES}
