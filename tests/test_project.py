"""What is said in several places is said the same everywhere: versions, dependencies, addresses, commands."""

import base64
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rattler import MatchSpec

import aelib
from tools import links

ROOT = links.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DEPENDENCIES = {
    requirement.name: requirement.specifier for requirement in map(Requirement, PROJECT["project"]["dependencies"])
}
EXTRAS = PROJECT["project"]["optional-dependencies"]
REPO = links.repository()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def run(*command):
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr


def pins(name):
    """Returns the [(package, version, marker)] of a requirements file."""
    lines = [line.split(" #")[0].rstrip("\\ ") for line in read(name).splitlines() if "==" in line]
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    return [(one.name, str(one.specifier).removeprefix("=="), one.marker) for one in requirements]


# ---- packages


def test_versions_agree():
    version = PROJECT["project"]["version"]
    assert aelib.__version__ == version
    assert yaml.safe_load(read("CITATION.cff"))["version"] == version


def test_minimum_versions_agree():
    tensorflow = {Requirement(line).specifier for extra in EXTRAS.values() for line in extra}
    for name, specifiers in {"keras": {DEPENDENCIES["keras"]}, "tensorflow": tensorflow}.items():
        assert specifiers == {SpecifierSet(">=" + ".".join(map(str, aelib.MINIMUM_VERSIONS[name])))}


def test_tensorflow_is_only_in_the_extras():
    assert not [name for name in DEPENDENCIES if name.startswith("tensorflow")]
    assert {"cpu", "gpu"} <= set(EXTRAS)


@pytest.mark.parametrize("extra, python", [("cpu", "3.11"), ("cpu", "3.13"), ("gpu", "3.12")])
@pytest.mark.parametrize("platform, machine", [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")])
def test_lock_holds_one_fitting_version_of_every_dependency(extra, python, platform, machine):
    where = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    where |= {"sys_platform": platform, "platform_machine": machine}
    locked = {}
    for name, version, marker in pins(f"requirements/{extra}.txt"):
        if marker is None or marker.evaluate(where):
            assert name not in locked, f"{name} is pinned twice"
            locked[name] = version
    groups = PROJECT["dependency-groups"]
    wanted = [*PROJECT["project"]["dependencies"], *EXTRAS[extra], *groups["notebook"], *groups["test"]]
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate(where):
            assert requirement.specifier.contains(locked[requirement.name]), f"{requirement}: make lock"
    assert len({name for name in locked if name in ("tensorflow", "tensorflow-cpu")}) <= 1


@pytest.mark.parametrize("extra", ["cpu", "gpu", "grading", "site"])
def test_lock_has_hashes_and_no_address(extra):
    text = read(f"requirements/{extra}.txt")
    assert "://" not in text
    assert "--index-url" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"(?m)^(?=\S)", text) if entry.strip())


def test_bounds_admit_colab():
    """Else %pip install --no-deps would leave Colab with a package that refuses to be imported."""
    colab = {name: version for name, version, _ in pins("requirements/colab.txt")}
    for name, specifier in DEPENDENCIES.items():
        assert specifier.contains(colab[name])
    assert Requirement(EXTRAS["cpu"][0]).specifier.contains(colab["tensorflow"])


def test_python_versions_agree():
    [minimum] = SpecifierSet(PROJECT["project"]["requires-python"])
    low = tuple(map(int, minimum.version.split(".")))
    match = re.search(r"\((\d+), (\d+)\) <= sys\.version_info < \((\d+), (\d+)\)", read("Makefile"))
    makefile = tuple(map(int, match.groups()))
    assert (minimum.operator, makefile[:2]) == (">=", low)
    tested = yaml.safe_load(read(".github/workflows/tests.yml"))["jobs"]["cpu"]["strategy"]["matrix"]["python"]
    assert tested == [f"3.{minor}" for minor in range(makefile[1], makefile[3])]


# ---- environment.yml


def test_environment_yml():
    environment = yaml.safe_load(read("environment.yml"))
    assert set(environment) == {"name", "channels", "dependencies"}
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    [pip] = [line for line in environment["dependencies"] if not isinstance(line, str)]
    assert "pip" in conda

    # pip brings aelib with what pyproject.toml names, so only Jupyter's bounds are written twice
    assert pip == {"pip": ["-e .[cpu]"]}
    notebook = {
        requirement.name: requirement for requirement in map(Requirement, PROJECT["dependency-groups"]["notebook"])
    }
    for line in conda:
        spec = MatchSpec(line)  # conda's own parser: it refuses what conda would refuse
        if spec.name.normalized == "python":
            assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(str(spec.version).strip("=.*"))
        elif spec.name.normalized != "pip":
            assert notebook[spec.name.normalized].specifier == SpecifierSet(str(spec.version))


def test_conda_parser_refuses_a_bad_line():
    with pytest.raises(Exception, match="version"):
        MatchSpec("numpy=>1.26")


# ---- addresses


def test_every_address_is_the_one_in_pyproject():
    pattern = re.compile(r"(?:github\.com|/github|/gh)/([\w.-]+)/([\w.-]+)")
    account, name = REPO.split("/")
    for path in (path for pattern in links.FILES for path in ROOT.glob(pattern)):
        for match in pattern.finditer(path.read_text(encoding="utf-8")):
            if match[1] in (account, "your--account") or match[2].rstrip(".") == name:
                assert f"{match[1]}/{match[2].rstrip('.')}" == REPO, f"{path.name}: {match[0]} (make links REPO={REPO})"
    assert yaml.safe_load(read("CITATION.cff"))["repository-code"] == f"https://github.com/{REPO}"


# ---- README


def test_readme_names_the_commands_and_what_is_needed():
    readme = read("README.md")
    for command in ("make lessons", "make test"):
        assert command in readme[:3000], f"{command} must stand on the first screen"
    [minimum] = SpecifierSet(PROJECT["project"]["requires-python"])
    assert f"Python {minimum.version}" in readme
    for name in [*DEPENDENCIES, "tensorflow"]:
        assert name in readme.lower(), f"{name} is a dependency"


def test_readme_gives_the_plain_commands():
    readme = read("README.md")
    for command in ("-m venv .venv", "requirements/cpu.txt", "-m tools.run_lessons", "-m pytest"):
        assert command in readme


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_readme_lists_the_lesson_with_its_badge(path):
    rows = [line for line in read("README.md").splitlines() if f"(notebooks/{path.name})" in line]
    assert len(rows) == 1 and rows[0].startswith("|"), f"the table of lessons needs a row that links to {path.name}"
    assert links.badge(path.name, REPO) in rows[0]
    assert re.search(r"\| \d( to \d)? min \|", rows[0]), f"the row of {path.name} must say how long the lesson takes"


def test_readme_shows_a_figure_that_a_lesson_stores():
    notebook = read("notebooks/01_basic_autoencoder.ipynb")
    picture = base64.b64encode((ROOT / "docs" / "reconstructions.png").read_bytes()).decode()
    assert picture in notebook.replace("\\n", ""), "lesson 01 was stored anew: save its reconstructions again"


GUIDE = [f"assignments/{name}.md" for name in ("README", "teaching", "predictions")]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "data/README.md", *GUIDE])
def test_relative_links_resolve(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(name)):
        if not re.match(r"\w+:|#", target):
            assert ((ROOT / name).parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", *GUIDE])
def test_make_targets_that_are_named_exist(name):
    phony = set(re.search(r"(?m)^\.PHONY: (.*)$", read("Makefile"))[1].split())
    assert set(re.findall(r"`make ([a-z-]+)", read(name))) <= phony


# ---- continuous integration


@pytest.mark.parametrize(
    "schema, paths",
    [
        ("github-workflows", WORKFLOWS),
        ("dependabot", [ROOT / ".github" / "dependabot.yml"]),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_others_read_follow_their_schema(schema, paths):
    run("check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths))


def test_workflows_are_safe():
    program = pathlib.Path(sys.executable).parent / "zizmor"
    result = subprocess.run([program, "--offline", "--quiet", ROOT / ".github"], text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_has_least_rights_and_pinned_actions(path):
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")
    for line in re.findall(r"uses:.*", text):
        assert re.fullmatch(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)


def test_gpu_workflow_is_for_the_owner_of_a_runner_only():
    workflow = yaml.safe_load(read(".github/workflows/gpu.yml"))
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}  # YAML reads the key `on` as True
    assert workflow["jobs"]["gpu"]["if"] == "vars.GPU_RUNNER != '' && !github.event.repository.fork"


# ---- this test run


@pytest.mark.parametrize("processes", [1, os.cpu_count() + 1])
def test_processes_side_by_side_share_the_cores(processes):
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment["PYTEST_XDIST_WORKER_COUNT"] = str(processes)
    code = f"import conftest, os; print(*(os.environ[name] for name in {names}))"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=True).stdout
    assert found.split() == 3 * [str(max(1, os.cpu_count() // processes))]


# ---- style


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff(command):
    run("ruff", *command, "--no-cache", ".")
