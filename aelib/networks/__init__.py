"""Encoders and decoders as plain `keras.Sequential` models, and networks from image to image."""

from aelib.networks.convolutional import conv_decoder, conv_encoder
from aelib.networks.dense import mlp_decoder, mlp_encoder
from aelib.networks.image_to_image import stacked_hourglass, unet
from aelib.networks.recurrent import recurrent_decoder, recurrent_encoder
from aelib.networks.stored import photograph_denoiser

__all__ = [
    "conv_decoder",
    "conv_encoder",
    "mlp_decoder",
    "mlp_encoder",
    "photograph_denoiser",
    "recurrent_decoder",
    "recurrent_encoder",
    "stacked_hourglass",
    "unet",
]
