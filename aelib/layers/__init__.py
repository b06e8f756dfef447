"""Layers: corruptions of the input, sparse, tied and sampled codes."""

from aelib.layers.noise import MaskingNoise, SaltAndPepperNoise
from aelib.layers.sampling import Sampling
from aelib.layers.sparse import KSparse, SparsityPenalty
from aelib.layers.tied import DenseTranspose

__all__ = ["DenseTranspose", "KSparse", "MaskingNoise", "SaltAndPepperNoise", "Sampling", "SparsityPenalty"]
