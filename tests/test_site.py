"""How the site's pages are made from the lessons. What they do in a browser is checked by `make test-site`."""

import nbformat
import pytest

from tools import links
from tools.site import build, chromium, lesson_page, npm

GLOSSARY = """# Glossary

```{glossary}
code
  What an encoder makes; of the {term}`encoder`.

encoder
  Makes a code.

sparse code
  A code of few.
```
"""


def test_terms_of_the_glossary_come_longest_first():
    assert lesson_page.glossary(GLOSSARY) == ["sparse code", "encoder", "code"]


def test_first_use_of_a_term_is_linked_where_it_is_prose():
    missing = lesson_page.glossary(GLOSSARY)
    text = (
        "# The code\n\n`code` and $code$ and [code](x.md) and **code**, decoded. Codes, a sparse code.\n\n"
        "```python\nencoder\n```\n\n| encoder |\n"
    )
    linked = lesson_page.link_terms(text, missing)
    assert linked == text.replace("Codes, a sparse code.", "{term}`Codes <code>`, a {term}`sparse code <sparse code>`.")
    assert missing == ["encoder"]
    assert lesson_page.link_terms("A code; an encoder.", missing) == "A code; an {term}`encoder <encoder>`."


@pytest.mark.parametrize(
    "source, expected",
    [
        ("plt.figure()\n" * 6, True),
        ("plt.figure()\n" * 5, False),  # short
        ("plt.figure()\n" * 6 + "model.fit(x)\n", False),
        ("for ax in axes:\n    ax.plot(x)\n" * 3, True),
    ],
)
def test_long_cells_that_only_draw_are_folded(source, expected):
    assert lesson_page.only_draws(source) is expected


def test_page_of_a_lesson_keeps_its_text_and_gains_what_a_page_needs(tmp_path):
    name, repo = "08_variational_autoencoder.ipynb", links.repository()
    figure = nbformat.v4.new_output("display_data", data={"image/png": "AAAA"})
    cells = [
        nbformat.v4.new_markdown_cell(f"# 08 Title\n\n{links.badge(name, repo)}"),
        nbformat.v4.new_code_cell("plt.show()\n" * 6, metadata={"alt": "Ten digits."}, outputs=[figure]),
        nbformat.v4.new_markdown_cell("## Exercises\n\nA code. See the [README](../README.md)."),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / name)
    out = tmp_path / "out"
    out.mkdir()
    lesson_page.write(tmp_path / name, out, ["code"], set())
    head, code, explorer, exercises = nbformat.read(out / name, 4).cells
    assert "colab-badge.svg" not in head.source
    for address in (f"github/{repo}/blob/main/notebooks/{name}", f"gh/{repo}/main?urlpath=lab/tree/notebooks/{name}"):
        assert address in head.source
    assert code.metadata["mystnb"] == {"image": {"alt": "Ten digits."}}
    assert code.metadata["tags"] == ["hide-input"]
    assert "{explorer} map plain_2" in explorer.source
    assert "{term}`code <code>`" in exercises.source
    assert f"https://github.com/{repo}/blob/main/README.md" in exercises.source


def test_every_number_that_a_page_shows_is_stored_by_its_lesson():
    for page in (links.ROOT / "docs").glob("*.md"):
        for number, pattern in build.NUMBER.findall(page.read_text(encoding="utf-8")):
            assert build.stored(number, pattern, page.name)


def test_a_number_that_no_lesson_stores_any_more_is_named():
    assert build.stored("01", r"(PCA) ", "which.md") == "PCA"
    with pytest.raises(ValueError, match=r"docs/which\.md shows 'nothing \(x\)' of lesson 01"):
        build.stored("01", "nothing (x)", "which.md")


def test_a_package_that_is_not_the_expected_one_is_refused_and_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(npm, "FOLDER", tmp_path)
    archive = tmp_path / "axe-core-4.14.1.tgz"
    archive.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"axe-core 4\.14\.1 from npm is not the file"):
        npm.install("axe", tmp_path / "out")
    assert not archive.exists()


def test_without_npm_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(npm, "FOLDER", tmp_path)
    monkeypatch.setattr(npm.shutil, "which", lambda program: None)
    with pytest.raises(SystemExit, match="sudo apt install npm"):
        npm.install("axe", tmp_path / "out")


def test_without_chromium_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "missing"))
    with pytest.raises(SystemExit, match=r"there is no .*missing here\.\nOn Debian: sudo apt install chromium"):
        chromium.find()
