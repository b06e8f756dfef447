"""The answers that are planted in the tests of the assignments, read from assignments/tests/*.md."""

import dataclasses
import re

import nbformat

from tools.links import ROOT

ASSIGNMENTS = sorted(path.stem for path in (ROOT / "assignments" / "tests").glob("*.md"))

ANSWER = re.compile(
    r"### (?P<kind>right|wrong): (?P<what>[^\n]+) \((?P<points>[\d.]+)\)\n\n(?:> (?P<message>[^\n]+)\n\n)?"
    r"```python\n(?P<code>.*?)\n```",
    re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Answer:
    task: str
    kind: str
    what: str
    points: float
    message: str | None
    code: str


def answers(assignment):
    """Returns all planted answers of an assignment, in the order of its tasks."""
    text = (ROOT / "assignments" / "tests" / f"{assignment}.md").read_text(encoding="utf-8")
    found = []
    for task, part in re.findall(r"(?ms)^## (\S+)\n(.*?)(?=^## |\Z)", text):
        headings = re.findall(r"(?m)^### ", part)
        matches = list(ANSWER.finditer(part))
        assert len(matches) == len(headings), f"{task}: {len(headings)} headings, {len(matches)} of them well-formed"
        for match in matches:
            found.append(Answer(task, **{**match.groupdict(), "points": float(match["points"])}))
    return found


def source(assignment):
    """Returns the source notebook of an assignment."""
    path = ROOT / "assignments" / "source" / assignment / f"{assignment}.ipynb"
    return nbformat.read(path, as_version=4)


def grading(cell):
    """Returns what nbgrader knows of a cell, or an empty dictionary."""
    return cell.metadata.get("nbgrader", {})
