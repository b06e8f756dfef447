"""The course's data sets: found or downloaded, checked, scaled and split."""

from aelib.data.japanese_vowels import SequenceSplits, load_japanese_vowels
from aelib.data.mnist import ImageSplits, load_mnist
from aelib.data.photographs import PhotoSplits, load_photographs

__all__ = [
    "ImageSplits",
    "PhotoSplits",
    "SequenceSplits",
    "load_japanese_vowels",
    "load_mnist",
    "load_photographs",
]
