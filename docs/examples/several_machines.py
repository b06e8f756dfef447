"""Trains an autoencoder on several machines: python several_machines.py NUMBER HOST:PORT HOST:PORT ...

The first machine, number 0, saves the model as autoencoder.keras.
"""

import itertools
import json
import os
import sys

number, addresses = int(sys.argv[1]), sys.argv[2:]
os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}})

import aelib  # before TensorFlow, so that it starts without its log lines
import keras
import tensorflow as tf

from aelib import data, losses, models, networks

BATCH_SIZE, STEPS = 512, 200

strategy = tf.distribute.MultiWorkerMirroredStrategy()
keras.utils.set_random_seed(0)
with strategy.scope():
    model = models.Autoencoder(networks.mlp_encoder(784, [256], 32), networks.mlp_decoder(32, [256], 784))
    model.compile(keras.optimizers.Adam(1e-3), losses.SumSquaredError())


def share_of_batches(context):
    """Every machine shuffles in the same order and takes its own rows of each batch."""
    machines, own = context.num_input_pipelines, context.input_pipeline_id
    images = tf.data.Dataset.from_tensor_slices(data.load_mnist().x_train)
    batches = images.shuffle(10_000, seed=0).repeat().batch(BATCH_SIZE)
    own_rows = batches.map(lambda batch: batch[own::machines]).unbatch()
    return own_rows.batch(context.get_per_replica_batch_size(BATCH_SIZE), drop_remainder=True)


@tf.function
def step(batch):
    strategy.run(model.train_step, args=(batch,))


for batch in itertools.islice(strategy.distribute_datasets_from_function(share_of_batches), STEPS):
    step(batch)
if number == 0:
    model.save("autoencoder.keras")
