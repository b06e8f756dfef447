"""Installs aelib as Colab would, shows that nothing was replaced, and runs the lessons: make test-colab

It is run by the environment that stands in for Colab (.venv-colab, from requirements/colab.txt).
"""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from tools import links


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def installed():
    """Returns {package: version and origin} of this environment."""
    lines = pip("freeze", "--all").splitlines()
    return {re.split("==| @ ", line)[0].lower().replace("_", "-"): line for line in lines}


def install_command(source):
    """Returns the arguments of the set-up cell's %pip line, with a local folder in place of the address on GitHub."""
    repo = links.repository()
    line = next(line for line in links.setup_cell(repo).splitlines() if "%pip" in line)
    arguments = shlex.split(line.replace("%pip", "", 1))
    return [part.replace(f"git+https://github.com/{repo}@{links.BRANCH}", source.as_uri()) for part in arguments]


def main():
    if "aelib" in installed():
        pip("uninstall", "--yes", "aelib")
    before = installed()
    with tempfile.TemporaryDirectory() as folder:  # a copy, because building leaves files in its source
        source = pathlib.Path(folder).resolve()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(links.ROOT / name, source)
        shutil.copytree(links.ROOT / "aelib", source / "aelib")
        command = install_command(source)
        print("pip", *command, flush=True)
        pip(*command)
    after = installed()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed != ["aelib"]:
        sys.exit(f"test-colab FAILS: the installation changed {', '.join(changed) or 'nothing'}, not only aelib.")
    kept = [line for name, line in after.items() if name in ("tensorflow", "keras", "numpy")]
    print("Only aelib was added. As before:", ", ".join(kept))
    print(pip("check"), end="", flush=True)  # fails where aelib's lower bounds are above Colab's versions

    lessons = subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "notebooks"], cwd=links.ROOT).returncode
    print("test-colab", "FAILS: see the lessons above" if lessons else "passes: the lessons run on Colab's versions")
    sys.exit(lessons)


if __name__ == "__main__":
    main()
