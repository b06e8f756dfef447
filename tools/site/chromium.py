"""Finds the browser that checks the site, or says how to get one: python -m tools.site.chromium"""

import os
import shutil
import sys


def find():
    """Returns the path of Chromium: the one that the environment variable CHROMIUM names, or Debian's."""
    named = os.environ.get("CHROMIUM")
    program = shutil.which(named or "chromium")
    if program is None:
        sys.exit(
            f"make test-site drives Chromium, and there is no {named or 'chromium'} here.\n"
            "On Debian: sudo apt install chromium. Elsewhere name one: CHROMIUM=/path/to/chromium make test-site"
        )
    return program


if __name__ == "__main__":
    find()
