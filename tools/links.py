"""Rewrites the repository's address wherever it stands: python -m tools.links OWNER/NAME

pyproject.toml's Repository is the one source. The lessons' badges and set-up cells, and every other link to the
repository, are derived from it.
"""

import pathlib
import posixpath
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
BRANCH = "main"
FILES = (
    "pyproject.toml",
    "CITATION.cff",
    "*.md",
    "data/*.md",
    "notebooks/*.ipynb",
    "assignments/*.md",
    "assignments/*/*/*.ipynb",
)

# GitHub's own rules: an owner has no double, leading or trailing hyphen; a name is not a relative path.
REPOSITORY = re.compile(r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}(?<!\.git)")


def repository(root=ROOT):
    """Returns the "owner/name" that pyproject.toml names."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/")


def site(repo):
    """Returns the address at which GitHub Pages shows a repository's site."""
    owner, name = repo.split("/")
    return f"https://{owner}.github.io/" + ("" if name.lower() == f"{owner.lower()}.github.io" else f"{name}/")


def badge(filename, repo, folder="notebooks"):
    """Returns the Markdown of the Colab badge of a lesson, or of a notebook in another folder."""
    return (
        "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{repo}/blob/{BRANCH}/{folder}/{filename})"
    )


def setup_cell(repo):
    """Returns the first code cell, the same in every lesson. Colab has TensorFlow; nothing but aelib is installed."""
    return (
        "import sys\n"
        "\n"
        'if "google.colab" in sys.modules:\n'
        f'    %pip install -q --no-deps "aelib @ git+https://github.com/{repo}@{BRANCH}"\n'
        "\n"
        "import aelib\n"
        "\n"
        "aelib.print_versions()"
    )


def to_repository(text, name, pages):
    """Leads a Markdown text's relative links to what is no page to the file on GitHub.

    Args:
        text: the text.
        name: the path in the repository of the file that it is from.
        pages: the paths in the repository of what is a page, and of pictures that lie beside the pages.

    Raises:
        ValueError: If a link leads to a file that does not exist.
    """

    def lead(match):
        label, (target, _, anchor) = match[1], match[2].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if re.match(r"\w+:", target) or not target or path in pages:
            return match[0]
        if not (ROOT / path).exists():
            raise ValueError(f"{name} links to {target}, which does not exist.")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"[{label}](https://github.com/{repository()}/{kind}/{BRANCH}/{path}{anchor and '#' + anchor})"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", lead, text)


def rewrite(new, root=ROOT):
    """Puts `new` ("owner/name") in place of the present repository and returns the files that changed.

    The replacement is made in the files' text, so a notebook keeps its layout and its outputs byte for byte.
    """
    if not REPOSITORY.fullmatch(new):
        raise ValueError(f"REPO must be owner/name as on GitHub, for example REPO=octocat/autoencoders; got {new!r}.")
    old = repository(root)
    address = re.compile(r"((?:github\.com|/github|/gh)/)" + re.escape(old) + r"(?![\w-])")
    changed = []
    for path in sorted(path for pattern in FILES for path in root.glob(pattern)):
        before = path.read_bytes()
        after = address.sub(rf"\g<1>{new}", before.decode().replace(site(old), site(new))).encode()
        if after != before:
            path.write_bytes(after)
            changed.append(path)
    return changed


def main():
    try:
        changed = rewrite(sys.argv[1] if len(sys.argv) == 2 else "")
    except ValueError as error:
        sys.exit(f"make links: {error} Nothing was changed.")
    for path in changed:
        print(path.relative_to(ROOT))
    print(f"{len(changed)} files now point to https://github.com/{repository()}")


if __name__ == "__main__":
    main()
