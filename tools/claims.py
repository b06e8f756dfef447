"""Measures how far each claim of the lessons is from its bound: python -m tools.claims [lesson=04] [seeds=1,2] ...

    make claims                                       every lesson, seeds 1 to 5, full set and sample
    make claims LESSON=04 SEEDS=1,2,3 DATA=sample     a part
    make claims TIMES=4 SEEDS=1                       with four times the training

A run executes one lesson with other seeds (a thousand times the run's number is added to each that the lesson gives to
`keras.utils.set_random_seed`), on a named data set, and with every `fit` and every learning-rate schedule so many times
as long. In the section "Claims" an assertion `assert value > bound` is not asserted but noted: value, bound, whether
it holds. With `not` it is a control's: `assert not value > bound` notes that the control fails the claim.

What was run is kept in benchmarks/results/claims/, a file a lesson, and not run again until the lesson's code changes.
Comments do not count as code, and a bound that is a number does not either: it is set from the runs' spread, and the
verdicts of the stored runs follow it. The table over all runs is written into CONTRIBUTING.md.
"""

import ast
import collections
import hashlib
import json
import re
import statistics
import sys
import time

import nbformat

from aelib.data import load_mnist
from tools.execute import CELL_TIMEOUT, ROOT, execute, lessons
from tools.lesson_form import sections

RESULTS = ROOT / "benchmarks" / "results" / "claims"
PAGE = ROOT / "CONTRIBUTING.md"
START, END = "<!-- claims: written by make claims -->\n", "<!-- end of claims -->"
OPERATORS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
ALLOWED = {"lesson": "", "seeds": "1,2,3,4,5", "data": "full,sample", "times": "1"}

# Executed before the lesson's own imports.
PRELUDE = """
import inspect as _inspect
import json as _json

import keras as _keras
from aelib import data as _data


def _stretch(owner, method, *names):
    original = getattr(owner, method)
    signature = _inspect.signature(original)

    def stretched(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name in names:
            value = bound.arguments[name]
            if isinstance(value, list | tuple):
                bound.arguments[name] = [each * {times} for each in value]
            elif value is not None:
                bound.arguments[name] = value * {times}
        return original(*bound.args, **bound.kwargs)

    setattr(owner, method, stretched)


_schedules = _keras.optimizers.schedules
_stretch(_keras.Model, "fit", "epochs")
_stretch(_schedules.CosineDecay, "__init__", "decay_steps", "warmup_steps")
_stretch(_schedules.CosineDecayRestarts, "__init__", "first_decay_steps")
_stretch(_schedules.PiecewiseConstantDecay, "__init__", "boundaries")
for _name in ("ExponentialDecay", "InverseTimeDecay", "PolynomialDecay"):
    _stretch(getattr(_schedules, _name), "__init__", "decay_steps")

_set_random_seed = _keras.utils.set_random_seed
_keras.utils.set_random_seed = lambda seed: _set_random_seed(seed + 1000 * {seed})
_load_mnist = _data.load_mnist
_data.load_mnist = lambda source="auto", *args, **kwargs: _load_mnist("{data}", *args, **kwargs)
_claims = []


def _note(claim, text, control, value, operator, bound, holds):
    value, bound = [None if each is None or isinstance(each, bool) else float(each)
                    for each in (value, bound)]
    _claims.append(dict(claim=claim, text=text, control=control, value=value, operator=operator, bound=bound,
                        holds=bool(holds)))
"""
EPILOGUE = 'print("CLAIMS" + _json.dumps(_claims))'


def _comparisons(node):
    """Yields each comparison of an assertion: is it a control's, left side, operator, right side."""
    parts = node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And) else [node.test]
    for test in parts:
        control = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        test = test.operand if control else test
        if isinstance(test, ast.Compare) and all(type(each) in OPERATORS for each in test.ops):
            sides = [test.left, *test.comparators]
            for left, operator, right in zip(sides, test.ops, sides[1:], strict=False):
                sign = OPERATORS[type(operator)]
                if isinstance(left, ast.Constant) and not isinstance(right, ast.Constant):  # 0.4 < value is value > 0.4
                    left, right, sign = right, left, sign.translate(str.maketrans("<>", "><"))
                yield control, left, sign, right
        else:
            yield control, test, "", ast.Constant(None)


def _text(left, sign, right):
    return f"{ast.unparse(left)} {sign} {ast.unparse(right)}" if sign else ast.unparse(left)


class _NoteClaims(ast.NodeTransformer):
    """Replaces assertions by calls that note value, bound and verdict."""

    def __init__(self, claim):
        self.claim = claim

    def visit_Assert(self, node):
        return [self._call(*each) for each in _comparisons(node)]

    def _call(self, control, left, sign, right):
        text = _text(left, sign, right)
        call = (
            f"_note({self.claim!r}, {text!r}, {control}, {ast.unparse(left)}, {sign!r}, {ast.unparse(right)}, {text})"
        )
        return ast.parse(call).body[0]


def _claim_cells(notebook):
    """Yields each code cell of the section "Claims" with the number of the claim above it."""
    claims = dict((heading.split(":")[0], code) for heading, _, code in sections(notebook))["Claims"]
    number = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            number = (re.findall(r"(?m)^(\d+)\. ", cell.source) or [number])[-1]
        elif any(cell.id == each.id for each in claims):
            yield number, cell


def _bound(node):
    """Returns the number that a bound is, or None where it is computed."""
    try:
        return float(ast.literal_eval(node))
    except (TypeError, ValueError):
        return None


def _bounds(notebook):
    """Returns what the lesson compares with at present, by claim, left side, operator and whether it is a control."""
    return {
        (number, ast.unparse(left), sign, control): right
        for number, cell in _claim_cells(notebook)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Assert)
        for control, left, sign, right in _comparisons(node)
    }


class _LeaveOutBounds(ast.NodeTransformer):
    """Replaces assertions by what they compare, without the bounds that are numbers."""

    def visit_Assert(self, node):
        return [
            ast.Expr(ast.Tuple([left, ast.Constant(sign), ast.Constant(control), *[right] * (_bound(right) is None)]))
            for control, left, sign, right in _comparisons(node)
        ]


def code_hash(notebook):
    """Returns what a lesson's runs are filed under: its code without the installation on Colab, comments and bounds.

    What follows the claims, such as the check of an exercise, changes none of them and is left out.
    """
    claims = [cell.id for _, cell in _claim_cells(notebook)]
    last = max((number for number, cell in enumerate(notebook.cells) if cell.id in claims), default=len(notebook.cells))
    code = []
    for cell in notebook.cells[: last + 1]:
        if cell.cell_type == "code" and not re.search(r"(?m)^\s*%", cell.source):
            tree = ast.parse(cell.source)
            code.append(ast.dump(_LeaveOutBounds().visit(tree) if cell.id in claims else tree))
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:16]


def with_present_bounds(note, bounds):
    """Returns a run's note judged by the bound that the lesson has now, where that is a number."""
    text, _, _ = note["text"].rpartition(f" {note['operator']} ") if note["operator"] else (note["text"], "", "")
    right = bounds.get((note["claim"], text, note["operator"], note["control"]))
    if right is None or note["value"] is None or _bound(right) is None:
        return note
    bound, value = _bound(right), note["value"]
    holds = {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[note["operator"]]
    return note | {"text": f"{text} {note['operator']} {ast.unparse(right)}", "bound": bound, "holds": holds}


def prepare(notebook, seed, data, times):
    """Returns a copy of a lesson that notes its claims, with this seed, data set and multiple of the training."""
    notebook = nbformat.from_dict(json.loads(json.dumps(notebook)))
    for number, cell in list(_claim_cells(notebook)):
        cell.source = ast.unparse(ast.fix_missing_locations(_NoteClaims(number).visit(ast.parse(cell.source))))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    prelude = PRELUDE
    for name, value in {"{seed}": seed, "{times}": times, "{data}": data}.items():
        prelude = prelude.replace(name, str(value))
    place = notebook.cells.index(code[0]) + 1
    notebook.cells.insert(place, nbformat.v4.new_code_cell(prelude))
    notebook.cells.append(nbformat.v4.new_code_cell(EPILOGUE))
    return notebook


def run(notebook):
    """Executes a prepared lesson and returns what its claims noted."""
    notebook, traceback = execute(notebook, timeout=20 * CELL_TIMEOUT)
    if traceback:
        raise RuntimeError(traceback)
    printed = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    return json.loads(printed.split("CLAIMS", 1)[1])


def read(number):
    path = RESULTS / f"{number}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def write(number, runs):
    """Writes a lesson's runs in one step, so that an interruption never leaves half a file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{number}.json"
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    scratch.replace(path)


def _mean(values):
    return "" if not values else f"{statistics.fmean(values):.3g}"


def _spread(values):
    if len(values) < 2:
        return _mean(values)
    return f"{statistics.fmean(values):.3g} ± {statistics.stdev(values):.2g}"


def _margin(notes):
    """Returns how many standard deviations lie between a claim's mean and its bound."""
    gaps = [abs(each["value"] - each["bound"]) * (1 if each["holds"] else -1) for each in notes]
    if len(gaps) < 2 or statistics.stdev(gaps) == 0:
        return None
    return statistics.fmean(gaps) / statistics.stdev(gaps)


def rows():
    """Yields one line of the table a claim: lesson, assertion, values, bound, margin, control, longer training."""
    for path in lessons():
        number, notebook = path.name[:2], nbformat.read(path, as_version=4)
        current, bounds = code_hash(notebook), _bounds(notebook)
        notes = collections.defaultdict(lambda: collections.defaultdict(list))
        controls = collections.defaultdict(list)
        for each in read(number):
            if each["code"] != current:
                continue
            for note in (with_present_bounds(note, bounds) for note in each["claims"]):
                if note["control"]:
                    controls[note["claim"]].append(note)
                else:
                    notes[note["claim"], note["text"]][each["data"], each["times"]].append(note)
        for (claim, text), groups in notes.items():
            once = {data: groups.get((data, 1), []) for data in ("full", "sample")}
            longer = [note for (_, times), found in groups.items() if times > 1 for note in found]
            everything = [note for found in groups.values() for note in found]
            numeric = [note for note in everything if note["value"] is not None and note["bound"] is not None]
            values = {data: [note["value"] for note in found if note in numeric] for data, found in once.items()}
            margins = [_margin([note for note in found if note in numeric]) for found in once.values()]
            margins = [each for each in margins if each is not None]
            control = controls[claim]
            yield (
                f"{number}.{claim}",
                f"`{text.replace('|', chr(92) + '|')}`",
                _spread(values["full"]),
                _spread(values["sample"]),
                _mean([note["bound"] for note in numeric]),
                f"{min(margins):.1f}" if margins else "",
                f"{sum(note['holds'] for note in everything)} of {len(everything)}",
                _mean([note["value"] for note in control if note["value"] is not None]),
                f"{sum(not note['holds'] for note in control)} of {len(control)}" if control else "",
                f"{_mean([note['value'] for note in longer if note['value'] is not None])}",
            )


def write_page():
    head = (
        "claim", "assertion", "full set", "sample", "bound", "margin, sd", "holds", "control", "control fails",
        "longer training",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows()]
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + START + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


def main(arguments):
    options = ALLOWED | dict(argument.split("=", 1) for argument in arguments if not argument.endswith("="))
    if unknown := options.keys() - ALLOWED.keys():
        sys.exit(f"make claims: {', '.join(sorted(unknown))} is unknown; use LESSON, SEEDS, DATA and TIMES.")
    times = int(options["times"])
    for data in options["data"].split(","):
        load_mnist(data)
    failed = False
    for path in lessons(options["lesson"]):
        number, notebook = path.name[:2], nbformat.read(path, as_version=4)
        current, bounds = code_hash(notebook), _bounds(notebook)
        for data in options["data"].split(","):
            for seed in map(int, options["seeds"].split(",")):
                key = {"code": current, "data": data, "seed": seed, "times": times}
                stored = [each for each in read(number) if key.items() <= each.items()]
                start = time.monotonic()
                if not stored:
                    stored = [{**key, "claims": run(prepare(notebook, seed, data, times))}]
                    # Read again: another process may have added its own meanwhile. Runs of older code are dropped.
                    write(number, [*(each for each in read(number) if each["code"] == current), *stored])
                notes = [with_present_bounds(note, bounds) for note in stored[0]["claims"]]
                wrong = [note["text"] for note in notes if note["holds"] == note["control"]]
                failed |= bool(wrong)
                verdict = "all hold" if not wrong else "NOT: " + "; ".join(wrong)
                print(f"{number} {data} seed {seed} x{times}: {time.monotonic() - start:.0f} s, {verdict}", flush=True)
    write_page()
    sys.exit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
