import pytest

from aelib import data


@pytest.fixture(scope="session")
def mnist():
    """MNIST as it is at hand, whole or as the sample; never over the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "ORIGIN", "file:///no/such/archive")
        return data.load_mnist()


@pytest.fixture(scope="session")
def full_mnist(mnist):
    if mnist.source != "full":
        pytest.skip("needs the full MNIST set, and only the sample is at hand: see data/README.md")
    return mnist
