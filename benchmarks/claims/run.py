"""The guide's claims on real data: run them, store what was found, and write the table.

python benchmarks/claims/run.py                         # every claim, shown only
python benchmarks/claims/run.py ranking_seeds --save    # one, stored; README.md is rewritten
python benchmarks/claims/run.py --tiny                  # a look at every program, in seconds
python benchmarks/claims/run.py --readme                # README.md from the stored rows
"""

import argparse
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent)]

import adaptive_claims  # noqa: E402
import convex_claims  # noqa: E402
import image_claims  # noqa: E402
import page  # noqa: E402
import ranking_claims  # noqa: E402
import table_claims  # noqa: E402
import text_claims  # noqa: E402
from claim import FULL, TINY, Claim, Size  # noqa: E402

# In the order of the guide.
ORDER = (
    "momentum_ravines", "nesterov_convex", "adagrad_stalls", "adam_out_of_the_box", "adamw_l2",
    "warmup_attention", "clipping_recurrent", "sgd_adam_images", "adamw_boosting",
    "one_cycle_speed", "cosine_step", "rmsprop_recurrent", "lion_bytes", "linear_scaling",
    "ranking_seeds",
)  # fmt: skip
FAMILIES = (convex_claims, adaptive_claims, image_claims, ranking_claims, text_claims, table_claims)
CLAIMS = {
    name: claim for name in ORDER for f in FAMILIES for claim in f.CLAIMS if claim.name == name
}
PACKAGES = ("gradxform", "jax", "jaxlib", "optax", "numpy", "scipy", "scikit-learn")


def run(claim: Claim, size: Size) -> page.Row:
    """One claim's row."""
    start = time.perf_counter()
    found = claim.experiment(size)
    return page.row_of(claim, found, {"seconds": round(time.perf_counter() - start, 1), **_where()})


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CLAIMS)}; all by default")
    parser.add_argument("--save", action="store_true", help="store rows and rewrite README.md")
    parser.add_argument("--tiny", action="store_true", help="tiny experiments, never stored")
    parser.add_argument("--readme", action="store_true", help="only rewrite README.md")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(CLAIMS)):
        parser.error(f"no claim is called {', '.join(unknown)}; there are {', '.join(CLAIMS)}")
    if options.tiny and options.save:
        parser.error("--tiny shows that the programs run; its numbers say nothing to be stored")

    for name in () if options.readme else options.names or CLAIMS:
        row = run(CLAIMS[name], TINY if options.tiny else FULL)
        if options.save:
            page.save(row)
        print(page.details({name: row}), "\n", flush=True)
    if options.save or options.readme:
        page.README.write_text(page.inserted(page.README.read_text(), page.load(list(CLAIMS))))


def _where() -> dict[str, Any]:
    """The versions and the machine."""
    sys.path.append(str(Path(__file__).parent.parent))
    import machine

    versions = {name: version(name) for name in PACKAGES}
    versions["python"] = ".".join(map(str, sys.version_info[:3]))
    return {"versions": versions, "machine": machine.describe()}


if __name__ == "__main__":
    main()
