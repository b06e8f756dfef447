"""The course's data sets: found or downloaded, checked, scaled and split."""

from aelib.data.mnist import ImageSplits, load_mnist
from aelib.data.photographs import PhotoSplits, load_photographs

__all__ = ["ImageSplits", "PhotoSplits", "load_mnist", "load_photographs"]
