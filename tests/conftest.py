"""What all tests share: JAX at its strictest, eight CPU devices, and cheap compiling.

Most of the time would go into compiling small programs. So XLA spends little on their speed, and
the processes of a run share a folder of compiled programs: each is compiled once. The folder goes
with the run; `JAX_COMPILATION_CACHE_DIR=folder pytest` keeps it for the next one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import jax
import pytest

# With these, compiling takes a third of the time. Operations, aliases, copies and temporaries of a
# step stay the same; there are fewer fusions of one operation. XLA ends a process that gives it a
# flag it does not know, and its flags come and go, so `_known_flags` tries them first.
QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config: pytest.Config) -> None:
    """Share compiled programs, small ones too, here and in the processes that are started here."""
    _compile_quickly()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="gradxform-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # A program that another process is writing at this moment is compiled here, too.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache")


def _known_flags() -> str:
    """Those of `QUICK` that this XLA knows, found out once for all processes of a run."""
    if _KNOWN not in os.environ:
        known = [QUICK] if _starts(QUICK) else [(flag,) for flag in QUICK if _starts((flag,))]
        os.environ[_KNOWN] = " ".join(flag for flags in known for flag in flags)
    return os.environ[_KNOWN]


_KNOWN = "GRADXFORM_TESTS_XLA_FLAGS"


def _starts(flags: tuple[str, ...]) -> bool:
    """Whether a process of its own gets its devices with these flags of XLA."""
    env = {**os.environ, "XLA_FLAGS": " ".join(flags)}
    program = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(program, env=env, capture_output=True, check=False).returncode == 0


def _compile_quickly() -> None:
    """XLA reads its flags once, with the first devices; processes started later keep their own."""
    flags = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = " ".join([_known_flags(), flags or ""])
    jax.devices()
    if flags is None:
        del os.environ["XLA_FLAGS"]
    else:
        os.environ["XLA_FLAGS"] = flags


@pytest.fixture
def strict_dtypes() -> Iterator[None]:
    """No implicit promotion between dtypes: what the library promises its users at most."""
    with jax.numpy_dtype_promotion("strict"):
        yield
