"""docs/examples/several_machines.py, as processes that talk over this machine's loopback interface."""

import socket
import subprocess
import sys

import keras
import numpy as np

from tools.links import ROOT


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def weights_after_training(machines, folder):
    """Runs the script on the offline sample for a few steps; returns the weights that the first machine saves."""
    script = (ROOT / "docs" / "examples" / "several_machines.py").read_text(encoding="utf-8")
    for old, new in {"512, 200": "512, 5", "load_mnist()": 'load_mnist("sample")'}.items():
        assert script.count(old) == 1
        script = script.replace(old, new)
    folder.mkdir()
    (folder / "script.py").write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}", encoding="utf-8")
    addresses = [f"127.0.0.1:{port}" for port in free_ports(machines)]
    processes = [
        subprocess.Popen(
            [sys.executable, "script.py", str(number), *addresses],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(machines)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output[-2000:]
    finally:
        for process in processes:
            process.kill()
    return keras.saving.load_model(folder / "autoencoder.keras").get_weights()


def test_two_machines_find_the_weights_of_one(tmp_path):
    one, two = (weights_after_training(machines, tmp_path / str(machines)) for machines in (1, 2))
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert all(np.abs(weights).max() > 1e-4 for weights in two)  # biases start at 0
