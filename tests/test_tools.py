"""The scripts behind the Makefile: links, execution, stored outputs, the Colab rehearsal."""

import json
import shutil

import nbformat
import pytest

from tools import colab, execute, gallery, lesson_form, links, run_lessons, store_outputs

# ---- make links


@pytest.fixture
def clone(tmp_path):
    """A small copy of what `make links` rewrites, with a notebook in another program's JSON layout."""
    repo = links.repository()
    for name in ("pyproject.toml", "CITATION.cff"):
        shutil.copy(links.ROOT / name, tmp_path)
    tmp_path.joinpath("README.md").write_text(
        f"{links.badge('01_a.ipynb', repo)} https://mybinder.org/v2/gh/{repo}/HEAD https://github.com/{repo}-more\n"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(links.setup_cell(repo))])
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text=f"output ünd {repo}\n")]
    tmp_path.joinpath("notebooks").mkdir()
    layout = json.dumps(notebook, indent=4, ensure_ascii=True).replace("\n", "\r\n")
    tmp_path.joinpath("notebooks", "01_a.ipynb").write_bytes(layout.encode())
    return tmp_path


def test_links_are_rewritten_everywhere_and_nothing_else(clone):
    old, new = links.repository(), "octo-cat/my.course_2"
    before = {path.name: path.read_bytes() for path in clone.rglob("*.*") if path.is_file()}
    changed = links.rewrite(new, clone)
    assert {path.name for path in changed} == set(before)
    assert links.repository(clone) == new
    readme = clone.joinpath("README.md").read_text()
    assert readme.startswith(links.badge("01_a.ipynb", new))
    assert f"/gh/{new}/HEAD" in readme and f"{old}-more" in readme
    raw = clone.joinpath("notebooks", "01_a.ipynb").read_bytes()
    assert raw == before["01_a.ipynb"].replace(f"github.com/{old}@".encode(), f"github.com/{new}@".encode())
    assert nbformat.from_dict(json.loads(raw)).cells[0].source == links.setup_cell(new)
    assert f"repository-code: https://github.com/{new}\n" in clone.joinpath("CITATION.cff").read_text()
    assert f"url: {links.site(new)}\n" in clone.joinpath("CITATION.cff").read_text()
    assert links.rewrite(new, clone) == []


def test_site_of_a_repository():
    assert links.site("octo-cat/my.course_2") == "https://octo-cat.github.io/my.course_2/"
    assert links.site("Octocat/octocat.github.io") == "https://Octocat.github.io/"


@pytest.mark.parametrize(
    "link, expected",
    [
        ("[a](02_b.ipynb#c)", None),
        ("[a](https://keras.io)", None),
        ("[a](#c)", None),
        ("[a](../README.md#citing)", "[a](https://github.com/{repo}/blob/main/README.md#citing)"),
        ("[a](../tests)", "[a](https://github.com/{repo}/tree/main/tests)"),
    ],
)
def test_links_to_what_is_no_page_lead_to_the_repository(link, expected):
    found = links.to_repository(link, "notebooks/01_a.ipynb", {"notebooks/02_b.ipynb"})
    assert found == (expected.format(repo=links.repository()) if expected else link)


def test_a_link_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"01_a\.ipynb links to \.\./nothing\.md, which does not exist"):
        links.to_repository("[a](../nothing.md)", "notebooks/01_a.ipynb", set())


@pytest.mark.parametrize("path", execute.lessons(), ids=lambda path: path.stem)
def test_lesson_has_a_question_and_a_figure_to_show(path):
    found = gallery.lesson(path.stem, nbformat.read(path, as_version=4))
    assert found.question.endswith("?") and found.figure.startswith(b"\x89PNG") and found.alt


def test_gallery_refuses_a_lesson_that_the_readme_does_not_list():
    with pytest.raises(ValueError, match="The README has no row"):
        gallery.lesson("99_nothing", nbformat.v4.new_notebook())


def test_gallery_names_a_lesson_without_its_figure(notebooks):
    with pytest.raises(ValueError, match="01_lesson has no stored figure in its section Look"):
        gallery.facts()


@pytest.mark.parametrize(
    "repo",
    [
        "",
        "name",
        "owner/",
        "/name",
        "owner/name/more",
        "https://github.com/owner/name",
        "two--hyphens/name",
        "-a/b",
        "a-/b",
        "owner/na me",
        "owner/..",
        "owner/.",
        "owner/name.git",
        'owner/"x',
        "owner/name\n",
        "a" * 40 + "/name",
        "a/" + "b" * 101,
    ],
)
def test_links_refuses_what_is_no_repository_and_writes_nothing(clone, repo):
    before = {path: path.read_bytes() for path in clone.rglob("*.*") if path.is_file()}
    with pytest.raises(ValueError, match="must be owner/name as on GitHub"):
        links.rewrite(repo, clone)
    assert before == {path: path.read_bytes() for path in clone.rglob("*.*") if path.is_file()}


# ---- make lessons, make store


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Three lessons without TensorFlow, of which the second fails."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(execute, "NOTEBOOKS", folder)
    monkeypatch.setattr(run_lessons, "OUT", tmp_path / "build" / "lessons")
    for module in (run_lessons, store_outputs):
        monkeypatch.setattr(module, "load_mnist", lambda source="auto": print(f"MNIST: {source}"))
    monkeypatch.setattr(gallery, "README", tmp_path / "README.md")
    rows = (
        f"| [{n:02} Lesson & title](notebooks/{n:02}_lesson.ipynb) | Why {n}? | a model | 1 min |" for n in (1, 2, 3)
    )
    gallery.README.write_text("\n".join(rows))
    first = "import os, pathlib, sys\npathlib.Path('litter').touch()\nos.system('echo loud >&2')\nprint('ran')"
    for number, source in enumerate((first, "1 / 0", "print('third')"), 1):
        cells = [
            nbformat.v4.new_markdown_cell(f"# 0{number} Lesson & title\n\n[next](03_lesson.ipynb) $x^2$"),
            nbformat.v4.new_code_cell(source, metadata={"tags": [lesson_form.CHECKED], "collapsed": True}),
        ]
        notebook = nbformat.v4.new_notebook(
            cells=cells, metadata={"kernelspec": {"name": "lost", "display_name": "lost"}}
        )
        nbformat.write(notebook, folder / f"0{number}_lesson.ipynb")
    return folder


def test_run_lessons_goes_on_after_a_failure_and_reports_it(notebooks, tmp_path, monkeypatch, capfd):
    before = {path.name: path.read_bytes() for path in notebooks.iterdir()}
    with pytest.raises(SystemExit) as stop:
        run_lessons.main()
    assert stop.value.code == 1
    printed = capfd.readouterr().out
    lines = [line.split() for line in printed.splitlines() if line.startswith("0") and "fails" not in line]
    assert [(name, verdict) for name, _, _, verdict in lines] == [
        ("01_lesson", "pass"),
        ("02_lesson", "FAIL"),
        ("03_lesson", "pass"),
    ]
    assert printed.startswith("MNIST: auto\n")
    assert "ZeroDivisionError: division by zero" in printed.split("02_lesson.ipynb fails:")[1]
    out = tmp_path / "build" / "lessons"
    assert printed.endswith(f"2 of 3 lessons pass. Read them in a browser:\n{out / 'index.html'}\n")
    assert {path.name: path.read_bytes() for path in notebooks.iterdir()} == before  # and no litter

    index = (out / "index.html").read_text()
    for number in (1, 2, 3):
        assert f'href="0{number}_lesson.html"' in index and f"<h2>0{number} Lesson &amp; title</h2>" in index
        assert f"<p>Why {number}?</p>" in index
    page = (out / "01_lesson.html").read_text()
    assert 'href="03_lesson.html"' in page
    assert 'src="mathjax/MathJax.js' in page and (out / "mathjax" / "MathJax.js").exists()
    assert not [line for line in page.splitlines() if "<script" in line and "http" in line]
    assert [output.text for output in nbformat.read(out / "01_lesson.ipynb", 4).cells[1].outputs] == ["ran\n"]


def test_store_writes_clean_outputs_and_leaves_a_failing_lesson_alone(notebooks, monkeypatch, capsys):
    before = {path.name: nbformat.read(path, 4) for path in notebooks.iterdir()}
    failing = (notebooks / "02_lesson.ipynb").read_bytes()
    monkeypatch.setattr("sys.argv", ["store_outputs"])
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # outside pytest nobody sets it
    with pytest.raises(SystemExit) as stop:
        store_outputs.main()
    assert stop.value.code == 1
    assert (notebooks / "02_lesson.ipynb").read_bytes() == failing
    assert "ZeroDivisionError" in capsys.readouterr().out
    stored = nbformat.read(notebooks / "01_lesson.ipynb", 4)
    assert stored.metadata == lesson_form.METADATA
    assert [cell.id for cell in stored.cells] == [cell.id for cell in before["01_lesson.ipynb"].cells]
    assert stored.cells[1].metadata == {"tags": [lesson_form.CHECKED]}
    assert stored.cells[1].execution_count == 1
    assert stored.cells[1].outputs == [nbformat.v4.new_output("stream", name="stdout", text="ran\n")]


def test_store_refuses_without_the_full_set(notebooks, monkeypatch):
    def missing(source):
        raise OSError("MNIST is not at hand")

    monkeypatch.setattr(store_outputs, "load_mnist", missing)
    monkeypatch.setattr("sys.argv", ["store_outputs", "03"])
    with pytest.raises(SystemExit, match=r"MNIST is not at hand\nNothing was changed"):
        store_outputs.main()


def test_store_refuses_an_unknown_lesson(notebooks, monkeypatch):
    monkeypatch.setattr("sys.argv", ["store_outputs", "42"])
    with pytest.raises(SystemExit, match="no lesson '42'"):
        store_outputs.main()


# ---- make test-colab


def test_colab_rehearses_the_set_up_cells_own_command(tmp_path):
    folder = tmp_path / "a course"
    command = colab.install_command(folder)
    assert command[:3] == ["install", "-q", "--no-deps"]
    assert command[3:] == [f"aelib @ {folder.as_uri()}"]
