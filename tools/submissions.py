"""Finds the notebooks that were handed in, and makes copies that nbgrader can grade; the originals stay as they are."""

import ast
import dataclasses
import datetime
import json
import pathlib
import re
import unicodedata
import urllib.parse
import zipfile

import nbformat

MAX_BYTES = 50_000_000
IGNORED = re.compile(r"(^|/)(\.|__MACOSX/|feedback/|autograded/|release/|source/)")

# What learning platforms put around the name: Moodle's "Name_123_assignsubmission_file", Canvas's "name_12_34_file".
MOODLE = re.compile(r"^(?P<name>.+?)_\d+_assignsubmission_(file|onlinetext)")
CANVAS = re.compile(r"^(?P<name>[^_]+?)(_LATE)?_\d+_\d+_")

# What no task asks for, and what code that interferes with the tests would use.
SUSPICIOUS = (
    r"\bget_ipython\b|\bast_transformers\b|\bsys\.modules\b|__builtins__|\bimport builtins\b|\bimportlib\b|\bctypes\b"
    r"|\bimport gc\b|\binspect\.|_getframe|\bos\.(_exit|kill|environ|system|fork|abort)\b|\bsubprocess\b|\bsocket\b"
    r"|\bsetattr\(|\bNBGRADER|\bsys\.(settrace|setprofile)\b"
)
GUARDED = {
    "answers",
    "metrics",
    "np",
    "numpy",
    "tf",
    "tensorflow",
    "keras",
    "scipy",
    "skimage",
    "sklearn",
    "builtins",
    "aelib",
    "PCA",
}


@dataclasses.dataclass
class Submission:
    """One file that was handed in."""

    student: str
    path: str  # as the teacher knows it
    content: bytes
    when: datetime.datetime | None
    remarks: list = dataclasses.field(default_factory=list)

    @property
    def id(self):
        """The name as nbgrader can have it: letters of any script, spaces, hyphens and dots; all else is encoded."""
        name = unicodedata.normalize("NFC", self.student)
        encoded = "".join(c if c.isalnum() or c in " -_@" else urllib.parse.quote(c, safe="") for c in name)
        return encoded.replace(".", "%2E").strip() or "unnamed"


def collect(source):
    """Returns the submissions in a folder or zip, sorted by student; of several by one student, the newest.

    A folder holds one notebook a student, named after the student; or nbgrader's folders, STUDENT/ASSIGNMENT/NOTEBOOK;
    or what a platform exported: a zip of either kind, with its own additions to the names. Files that are no notebooks
    are submissions too, to be looked at by a human.
    """
    source = pathlib.Path(source)
    if source.is_dir():
        files = [(path.relative_to(source).as_posix(), path) for path in sorted(source.rglob("*")) if path.is_file()]
        found = [
            (name, path.read_bytes() if path.stat().st_size <= MAX_BYTES else b"", _local(path.stat().st_mtime))
            for name, path in files
        ]
    elif source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            found = [
                (_zip_name(entry), archive.read(entry) if entry.file_size <= MAX_BYTES else b"", _zip_time(entry))
                for entry in archive.infolist()
                if not entry.is_dir()
            ]
    else:
        raise ValueError(f"{source} is neither a folder nor a zip file: give the folder with what was handed in.")
    stamps = {
        name: content.decode(errors="replace").strip() for name, content, _ in found if name.endswith("timestamp.txt")
    }
    newest = {}
    for name, content, when in sorted(found):
        if IGNORED.search(name) or name in stamps:
            continue
        folder = name.rpartition("/")[0]
        when = _stamp(stamps.get(f"{folder}/timestamp.txt")) or when
        one = Submission(_student(name), name, content, when)
        if len(content) == 0:
            one.remarks.append("the file is empty, or larger than 50 MB")
        other = newest.get(one.id)
        if other:
            notebooks = [each for each in (one, other) if each.path.endswith(".ipynb")] or [one, other]
            kept = max(notebooks, key=lambda each: each.when)
            left = other if kept is one else one
            kept.remarks += [*left.remarks, f"a second file was handed in and not graded: {left.path}"]
            one = kept
        newest[one.id] = one
    return [newest[student] for student in sorted(newest)]


def _local(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=0)


def _zip_name(entry):
    if entry.flag_bits & 0x800:  # the name is UTF-8
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")  # many programs write UTF-8 and do not say so
    except UnicodeError:
        return entry.filename


def _zip_time(entry):
    try:
        return datetime.datetime(*entry.date_time).astimezone(datetime.UTC)
    except ValueError:
        return None


def _stamp(text):
    """Reads nbgrader's timestamp.txt, such as "2026-01-31 23:59:00.000000 UTC"."""
    try:
        when = datetime.datetime.fromisoformat((text or "").removesuffix(" UTC"))
    except ValueError:
        return None
    return when.replace(tzinfo=when.tzinfo or datetime.UTC)


def _student(name):
    """Returns the student's name from a path inside the folder or zip."""
    parts = name.removeprefix("submitted/").split("/")
    for part in parts:
        match = MOODLE.match(part)
        if match:
            return match["name"]
    if len(parts) > 1:
        return parts[0]
    match = CANVAS.match(parts[0])
    return match["name"] if match else pathlib.PurePosixPath(parts[0]).stem


# ---- one notebook


def read(content):
    """Returns (notebook, ""), or (None, why it is no notebook)."""
    try:
        text = content.decode("utf-8-sig")
        raw = json.loads(text)
        if not isinstance(raw, dict) or not isinstance(raw.get("nbformat"), int):
            return None, "the file is no notebook"
        notebook = nbformat.reads(text, as_version=4)
        cells = [cell for cell in notebook.cells if isinstance(cell.source, str) and cell.cell_type]
    except Exception as error:  # nbformat stumbles over damaged files in many ways
        return None, f"the file is no notebook ({type(error).__name__})"
    notebook.cells = cells
    return notebook, ""


def _grading(cell):
    meta = cell.get("metadata", {}).get("nbgrader", {})
    return meta if isinstance(meta, dict) else {}


def assignment_of(notebook, releases):
    """Returns the name of the assignment that has most cells in common with a notebook, or None."""
    ids = {_identity(cell) for cell in notebook.cells}
    common = {name: len(ids & {_identity(cell) for cell in release.cells}) for name, release in releases.items()}
    best = max(common, key=common.get)
    return best if common[best] else None


def _identity(cell):
    """A graded cell's id, which editors that drop nbgrader's metadata keep elsewhere."""
    return _grading(cell).get("grade_id") or cell.get("metadata", {}).get("id") or cell.get("id")


def repair(notebook, release):
    """Returns a copy of a submission in the order and with the locked cells of the release, and what had to be done.

    All cells of the student stay, in the student's order. Locked cells, which hold the tests, come from the release;
    each follows the answer that it tests, wherever that stands. Outputs are dropped.
    """
    locked = {_identity(cell): cell for cell in release.cells if _grading(cell).get("locked")}
    solutions = {_identity(cell): cell for cell in release.cells if _grading(cell).get("solution")}
    order = [_identity(cell) for cell in release.cells if _identity(cell) in locked or _identity(cell) in solutions]
    remarks, cells, seen = [], [], {}
    for cell in notebook.cells:
        name = _identity(cell)
        cell = nbformat.from_dict(
            {"cell_type": cell.cell_type, "id": str(name or ""), "metadata": {}, "source": cell.source}
        )
        if name in locked or name in solutions:
            seen.setdefault(name, []).append(cell)
        if name in locked:
            continue
        if name in solutions:
            for earlier in seen[name][:-1]:
                earlier.metadata = nbformat.from_dict({})
            cell.metadata.nbgrader = solutions[name].metadata.nbgrader
            cell.cell_type = solutions[name].cell_type
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
        cells.append(cell)
    for name in order:
        if name not in seen:
            remarks.append(f"the cell {name} is missing")
        elif len(seen[name]) > 1:
            remarks.append(
                f"the cell {name} is there {len(seen[name])} times" + ("" if name in locked else "; the last counts")
            )
        if name in locked and any(cell.source.strip() != locked[name].source.strip() for cell in seen.get(name, [])):
            remarks.append(f"the locked cell {name} was changed, and restored")
    present = [name for name in (_identity_of_solution(cell) for cell in cells) if name]
    if list(dict.fromkeys(present)) != [name for name in order if name in present]:
        remarks.append("the answers stand in another order than in the assignment")

    after = 0
    first_solution = min(order.index(name) for name in solutions)
    for number, name in enumerate(order):
        if name in solutions and name not in present and solutions[name].cell_type == "markdown":
            cells.append(nbformat.from_dict(solutions[name]))  # an answer that is missing counts as not given
        if name not in locked:
            continue
        if number < first_solution:
            first_code = min(
                (i for i, cell in enumerate(cells) if cell.cell_type == "code" and i >= after), default=len(cells)
            )
            head = {_identity(cell) for cell in release.cells[: _place(release, name)]}
            behind_head = max((i for i, cell in enumerate(cells) if cell.id in head), default=-1) + 1
            place = max(after, min(first_code, behind_head))
        else:
            own = [place for place, cell in enumerate(cells) if name.startswith(f"{_identity_of_solution(cell)}-")]
            place = max(after, max(own, default=-1) + 1)
        cells.insert(place, nbformat.from_dict(locked[name]))
        after = place + 1
    repaired = nbformat.v4.new_notebook(cells=cells, metadata=release.metadata)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return repaired, remarks


def _place(notebook, name):
    return [_identity(cell) for cell in notebook.cells].index(name)


def _identity_of_solution(cell):
    return _grading(cell)["grade_id"] if _grading(cell).get("solution") else None


def suspicions(notebook, release):
    """Returns what in a student's code could interfere with the tests, for a human to look at."""
    own = {cell.source for cell in release.cells}
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code" or cell.source in own or _grading(cell).get("locked"):
            continue
        names = {match[0] for match in re.finditer(SUSPICIOUS, cell.source)} | set(_replaced(cell.source))
        found += [f"cell {number} uses {name}" for name in sorted(names)]
    return found


def _replaced(source):
    """Yields the attributes of modules that code assigns to."""
    try:
        tree = ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            base = node
            while isinstance(base, ast.Attribute):
                base = base.value
            if isinstance(base, ast.Name) and base.id in GUARDED:
                yield f"{ast.unparse(node)} = ..."
