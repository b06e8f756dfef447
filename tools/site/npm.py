"""Scripts that the pages run, from npm packages of one exact version each, verified, and never stored in git."""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile

from tools.links import ROOT

FOLDER = ROOT / "build" / "npm"

# name: (package, version, sha512 as npm states it, the files that are used)
PACKAGES = {
    "mathjax": (
        "mathjax",
        "3.2.2",
        "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        ["es5/tex-svg.js"],
    ),
    "tfjs-core": (
        "@tensorflow/tfjs-core",
        "4.22.0",
        "LEkOyzbknKFoWUwfkr59vSB68DMJ4cjwwHgicXN0DUi3a0Vh1Er3JQqCI1Hl86GGZQvY8ezVrtDIvqR1ZFW55A==",
        ["dist/tf-core.min.js"],
    ),
    "tfjs-backend-cpu": (
        "@tensorflow/tfjs-backend-cpu",
        "4.22.0",
        "1u0FmuLGuRAi8D2c3cocHTASGXOmHc/4OvoVDENJayjYkS119fcTcQf4iHrtLthWyDIPy3JiPhRrZQC9EwnhLw==",
        ["dist/tf-backend-cpu.min.js"],
    ),
    "axe": (
        "axe-core",
        "4.14.1",
        "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        ["axe.min.js"],
    ),
}


def install(name, folder):
    """Copies a package's files into a folder and returns it.

    The package is fetched once, into build/npm/, and verified every time.
    """
    package, version, sha512, files = PACKAGES[name]
    archive = FOLDER / f"{package.strip('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        _fetch(f"{package}@{version}")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != sha512:
        archive.unlink()
        raise ValueError(f"{package} {version} from npm is not the file that this course was tested with: deleted.")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as packed:
        for file in files:
            (folder / file.rsplit("/", 1)[-1]).write_bytes(packed.extractfile(f"package/{file}").read())
    return folder


def _fetch(what):
    if shutil.which("npm") is None:
        sys.exit(
            f"The site needs npm, to fetch {what}.\n"
            "On Debian or Ubuntu: sudo apt install npm. On macOS: brew install node."
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(["npm", "pack", "--silent", what], cwd=FOLDER, text=True, capture_output=True)
    if result.returncode:
        sys.exit(f"npm could not fetch {what}, which the site needs:\n{result.stderr}")
