import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aelib

MODULES = sorted(Path(aelib.__file__).parent.rglob("*.py"))


def test_old_version_is_refused(monkeypatch):
    monkeypatch.setitem(aelib.MINIMUM_VERSIONS, "keras", (99, 0))
    with pytest.raises(ImportError, match=r"needs keras 99\.0 or newer"):
        aelib._check_environment()


def test_other_backend_is_refused(monkeypatch):
    monkeypatch.setattr(aelib.keras.backend, "backend", lambda: "jax")
    with pytest.raises(ImportError, match="KERAS_BACKEND=tensorflow"):
        aelib._check_environment()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_the_figures_import_matplotlib_and_nothing_imports_scikit_learn_at_once(path):
    """Inside functions they may be imported; Keras itself imports them where they are installed."""
    imported = {
        (alias.name if isinstance(node, ast.Import) else node.module).split(".")[0]
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    heavy = imported & {"matplotlib", "sklearn", "mlxtend", "scipy"}
    assert heavy == ({"matplotlib"} if path.stem == "plots" else set())


def test_import_is_silent_and_leaves_the_devices_open():
    code = """
import sys
import aelib
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
print(len(tf.config.list_logical_devices("CPU")))
tf.constant(1)
print("heard", file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2"]
    assert result.stderr == "heard\n"
