"""Autoencoders as Keras models: `compile`, `fit(x)` without a target, `evaluate`, `save`."""

from aelib.models.adversarial import AdversarialAutoencoder
from aelib.models.autoencoder import Autoencoder
from aelib.models.contractive import PENALTIES, ContractiveAutoencoder
from aelib.models.energy_based_gan import EnergyBasedGAN
from aelib.models.variational import LOG_VAR_LIMIT, VariationalAutoencoder

__all__ = [
    "LOG_VAR_LIMIT",
    "PENALTIES",
    "AdversarialAutoencoder",
    "Autoencoder",
    "ContractiveAutoencoder",
    "EnergyBasedGAN",
    "VariationalAutoencoder",
]
