"""Networks whose trained weights come with the package."""

import importlib.resources

from aelib.networks.image_to_image import unet

WEIGHTS = importlib.resources.files("aelib.networks") / "photograph_denoiser.weights.h5"


def photograph_denoiser():
    """The trained denoiser of grey photographs that lesson 13 restores with: a residual `unet`, with its weights.

    With `s` drawn between 0 and 0.2 for every patch, more often small than large, it was trained to make

    `(||r(x + s noise) - x||^2) / (s^2 + 0.001)`

    small on patches of the eight training scenes of `aelib.data.load_photographs`, without any of its validation and
    test scenes. It is not told `s`. benchmarks/photograph_denoiser.py made it and can make it anew; data/README.md has
    the checksum of the weights.

    Input shape:
        `(batch, height, width, 1)` of any height and width, values about in [0, 1]. The channels of a colour photograph
        may be a batch.

    Output shape:
        That of the input.

    Returns:
        A built functional `keras.Model`, not compiled.

    Raises:
        FileNotFoundError: If the package was installed without the weights.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> noisy = np.full((1, 64, 64, 1), 0.5) + rng.normal(0, 0.1, (1, 64, 64, 1))
    >>> denoised = photograph_denoiser()(noisy.astype("float32")).numpy()
    >>> bool(np.abs(denoised - 0.5).mean() < 0.25 * np.abs(noisy - 0.5).mean())
    True

    Reference:
        S. A. Bigdeli and M. Zwicker, "Image restoration using autoencoding priors", 2017, for what it is used for; K.
        Zhang, W. Zuo, Y. Chen, D. Meng and L. Zhang, "Beyond a Gaussian denoiser", IEEE Transactions on Image
        Processing 26, 2017, for one network for all strengths of the noise.
    """
    if not WEIGHTS.is_file():
        raise FileNotFoundError(f"aelib is installed without {WEIGHTS.name}, looked for at {WEIGHTS}. Install it anew.")
    network = unet(filters=(16, 32, 64), residual=True, name="photograph_denoiser")
    with importlib.resources.as_file(WEIGHTS) as file:
        network.load_weights(file)
    return network
