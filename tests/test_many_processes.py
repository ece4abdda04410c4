"""Two processes with four devices each are one with eight, and read each other's checkpoints."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import many_processes as worker
import numpy as np

PROCESSES = 2
SECONDS = 120  # about eight are needed


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(folder):
    """Run the processes to their end; where one fails, end the others and show what it said."""
    address = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    running = []
    for process in range(PROCESSES):
        command = [sys.executable, worker.__file__, address, str(PROCESSES), str(process), folder]
        with (folder / f"{process}.txt").open("w") as output:
            running.append(subprocess.Popen(command, stdout=output, stderr=output, env=environment))
    end = time.monotonic() + SECONDS
    try:
        while any(p.poll() is None for p in running):
            assert time.monotonic() < end, said(folder)
            assert not any(p.poll() for p in running), said(folder)
            time.sleep(0.05)
    finally:
        for p in running:
            p.kill()
            p.wait()
    assert not any(p.returncode for p in running), said(folder)


def said(folder):
    return "\n".join((folder / f"{i}.txt").read_text()[-4000:] for i in range(PROCESSES))


def assert_same(actual, expected, exactly=False):
    for name, x in expected.items():
        tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(actual[name], x, **tolerance)


def test_two_processes_train_save_and_restore_like_one(tmp_path: Path) -> None:
    mesh, state, step = worker.start()
    state = worker.train(mesh, state, step, [0, 1])
    worker.saved(tmp_path / "one", state)
    before = worker.numbers(state)
    after = worker.numbers(worker.train(mesh, state, step, [2]))

    run(tmp_path)
    stored = np.load(tmp_path / "results.npz")
    theirs: dict[str, dict[str, np.ndarray]] = {"theirs": {}, "saved": {}, "next": {}}
    for key in stored:
        case, name = key.split("/")
        theirs[case][name] = stored[key]

    assert_same(theirs["saved"], before)
    assert_same(theirs["next"], after)
    assert_same(theirs["theirs"], after)  # from the checkpoint of one process
    _, fresh, _ = worker.start()
    state = worker.restored(tmp_path / "many", fresh)
    assert_same(worker.numbers(state), theirs["saved"], exactly=True)
    assert_same(worker.numbers(worker.train(mesh, state, step, [2])), theirs["next"])
