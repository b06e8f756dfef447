"""The models of step_time in PyTorch: in a bare loop, and in pythae. It runs in .venv-bench, which has no aelib."""

import contextlib
import functools
import io
import itertools
import logging

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import common

with contextlib.suppress(ImportError):
    import pythae.models
    import pythae.models.nn
    import pythae.trainers
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput


def start(path, config):
    """Loads the images, keeps the configuration, and returns the versions."""
    global CONFIG, X
    CONFIG, X = config, torch.from_numpy(np.load(path))
    logging.disable()  # of pythae
    return common.versions("torch", "pythae")


# ---- the networks: the same as in step_tensorflow


def dense(widths, last=None):
    """Returns dense layers with ReLU between them, and `last` behind them."""
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1], *([] if last is None else [last]))


class Transpose(nn.Module):
    """A decoder with the encoder's kernel, transposed."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.bias = nn.Parameter(torch.zeros(linear.in_features))

    def forward(self, z):
        return torch.sigmoid(functional.linear(z, self.linear.weight.T, self.bias))


def parts(model):
    """Returns new networks of a model: encoder, decoder, and the discriminator where there is one."""
    spec = CONFIG["models"][model]
    if model == "convolutional":
        (a, b), latent_dim = spec["filters"], spec["latent_dim"]
        encoder = [nn.Conv2d(1, a, 3, 2, 1), nn.ELU(), nn.Conv2d(a, b, 3, 2, 1), nn.ELU(), nn.Flatten()]
        decoder = [nn.Linear(latent_dim, 49 * b), nn.ELU(), nn.Unflatten(1, (b, 7, 7)), nn.Upsample(scale_factor=2)]
        decoder += [nn.Conv2d(b, a, 3, 1, 1), nn.ELU(), nn.Upsample(scale_factor=2), nn.Conv2d(a, 1, 3, 1, 1)]
        return nn.Sequential(*encoder, nn.Linear(49 * b, latent_dim)), nn.Sequential(*decoder, nn.Sigmoid())
    widths = spec["widths"]
    if model == "CAE":
        encoder = dense(widths, nn.Sigmoid())
        return encoder, Transpose(encoder[0])
    if model == "VAE":
        return dense([*widths[:-1], 2 * widths[-1]]), dense(widths[::-1])
    pair = dense(widths), dense(widths[::-1], nn.Sigmoid())
    return (*pair, dense([widths[-1], *spec["discriminator"], 1])) if model == "AAE" else pair


def images_for(model):
    return X.reshape(-1, 1, 28, 28) if model == "convolutional" else X


# ---- the bare loop


def descend(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def update_of(model, **adam_options):
    """Returns a function that does one training step on a batch."""
    encoder, decoder, *discriminator = parts(model)
    new_adam = functools.partial(torch.optim.Adam, **adam_options)
    adam = new_adam(dict.fromkeys([*encoder.parameters(), *decoder.parameters()]))
    weight = CONFIG["models"][model].get("contraction_weight")

    def squared_error(x):
        return (decoder(encoder(x)) - x).square().sum() / len(x)

    def negative_elbo(x):
        z_mean, z_log_var = encoder(x).chunk(2, dim=1)
        z_log_var = z_log_var.clamp(-10, 10)
        logits = decoder(z_mean + torch.exp(z_log_var / 2) * torch.randn_like(z_mean))
        nll = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (nll + (z_mean.square() + torch.expm1(z_log_var) - z_log_var).sum() / 2) / len(x)

    def contracted(x):
        z = encoder(x)
        contraction = (z * (1 - z)).square() @ encoder[0].weight.square().sum(dim=1)
        nll = functional.binary_cross_entropy(decoder(z), x, reduction="sum")
        return nll / len(x) + weight * contraction.mean()

    def one_loss(x):
        loss_of = {"VAE": negative_elbo, "CAE": contracted}.get(model, squared_error)
        descend(adam, loss_of(x))

    if not discriminator:
        return one_loss
    [judge] = discriminator
    judge_adam, encoder_adam = new_adam(judge.parameters()), new_adam(encoder.parameters())

    def three_losses(x):
        descend(adam, squared_error(x))
        with torch.no_grad():
            z = encoder(x)
        from_prior, encoded = judge(torch.cat([torch.randn_like(z), z])).chunk(2)
        descend(judge_adam, (functional.softplus(-from_prior) + functional.softplus(encoded)).mean() / 2)
        judge.requires_grad_(False)
        descend(encoder_adam, functional.softplus(-judge(encoder(x))).mean())
        judge.requires_grad_(True)

    return three_losses


def bare(model, **adam_options):
    images, update = images_for(model), update_of(model, **adam_options)

    def run():
        for _ in range(CONFIG["models"][model]["epochs"]):
            for rows in torch.randperm(len(images)).split(CONFIG["batch_size"]):
                update(images[rows])

    return run


def bare_fused(model):
    return bare(model, fused=True)


# ---- pythae: its trainer with its own settings, without the copies that it saves after training


def wrapped(base, network, output):
    """Returns the network as one of pythae's parts."""

    class Part(base):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, inputs):
            return ModelOutput(**output(self.network(inputs)))

    return Part()


def pythae_trainer(model):
    encoder, decoder, *discriminator = parts(model)
    shape, latent_dim = tuple(images_for(model).shape[1:]), CONFIG["models"][model].get("latent_dim")
    options = {"input_dim": shape, "latent_dim": latent_dim or CONFIG["models"][model]["widths"][-1]}
    if model == "VAE":
        options["reconstruction_loss"] = "bce"  # which takes probabilities
        decoder = nn.Sequential(decoder, nn.Sigmoid())
    base = pythae.models.nn
    networks = {
        "encoder": wrapped(base.BaseEncoder, encoder, lambda code: {"embedding": code}),
        "decoder": wrapped(base.BaseDecoder, decoder, lambda image: {"reconstruction": image}),
    }
    if model == "VAE":
        halves = lambda code: dict(zip(("embedding", "log_covariance"), code.chunk(2, dim=1), strict=True))  # noqa: E731
        networks["encoder"] = wrapped(base.BaseEncoder, encoder, halves)
        network = pythae.models.VAE(pythae.models.VAEConfig(**options), **networks)
    elif model == "AAE":
        # its encoder always gives a variance, here 0
        networks["encoder"] = wrapped(base.BaseEncoder, encoder, lambda z: {"embedding": z, "log_covariance": 0 * z})
        judge = nn.Sequential(*discriminator, nn.Sigmoid())
        networks["discriminator"] = wrapped(base.BaseDiscriminator, judge, lambda p: {"embedding": p})
        options["deterministic_posterior"] = True
        network = pythae.models.Adversarial_AE(pythae.models.Adversarial_AE_Config(**options), **networks)
    else:
        network = pythae.models.AE(pythae.models.AEConfig(**options), **networks)
    kind = "Adversarial" if model == "AAE" else "Base"
    trainer_config = getattr(pythae.trainers, f"{kind}TrainerConfig")(
        output_dir=str(common.BUILD / "pythae"), per_device_train_batch_size=CONFIG["batch_size"]
    )
    images = BaseDataset(images_for(model), torch.zeros(len(X)))
    return getattr(pythae.trainers, f"{kind}Trainer")(network, images, training_config=trainer_config)


def pythae_loop(model):
    trainer = pythae_trainer(model)
    trainer.prepare_training()

    def run():
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            for epoch in range(CONFIG["models"][model]["epochs"]):
                trainer.train_step(epoch)

    return run


# ---- answers

WAYS = {"torch": bare, "torch_fused": bare_fused, "pythae": pythae_loop}

if __name__ == "__main__":
    common.serve(start, common.stopwatch(WAYS))
