"""Runs code in a new Python process, for what one process cannot show: loading a model, and several devices."""

import subprocess
import sys

TWO_DEVICES = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""


def run(code, folder):
    """Runs Python code in `folder` after `import aelib`; returns what it wrote to stdout and stderr."""
    code = "import aelib\nimport keras\nimport numpy as np\n" + code
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr
