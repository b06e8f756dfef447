import dataclasses

import pytest

from aelib.data import load_mnist
from aelib.data import mnist as loader


@pytest.fixture(scope="session")
def mnist():
    """MNIST as it is at hand, whole or as the sample; never over the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "ARCHIVE", dataclasses.replace(loader.ARCHIVE, origin="file:///no/such/archive"))
        return load_mnist()


@pytest.fixture(scope="session")
def full_mnist(mnist):
    if mnist.source != "full":
        pytest.skip("needs the full MNIST set, and only the sample is at hand: see data/README.md")
    return mnist
