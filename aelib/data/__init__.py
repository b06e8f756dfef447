"""The course's data sets: found or downloaded, checked, scaled and split."""

from aelib.data.mnist import ImageSplits, load_mnist

__all__ = ["ImageSplits", "load_mnist"]
