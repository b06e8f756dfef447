"""Plants faults in aelib, one at a time, and runs the changed module's tests: python -m tools.mutants [MODULE ...]

cosmic-ray makes the mutants: an operator exchanged, a number moved by one, a condition turned round. They are tried
here, because TensorFlow takes six seconds to start: this process imports it, computes nothing with it, and so can fork
a child for each mutant. A child runs the tests from the quickest to the slowest, those in front that have
found something before, and stops at the first that fails.

Outcomes go to `build/mutants.jsonl`, and a new run goes on where the last one stopped. A survivor is tried again when
the tests have changed. The table, `tests/mutants.md`, is written from them and from `tests/mutants.toml`, where every
survivor has the reason why it is harmless.
"""

import collections
import contextlib
import difflib
import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import tomllib

from tools.links import ROOT

OPERATORS = re.compile(
    r"core/(ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul)"
    r"|ReplaceComparisonOperator_(Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is)"
    r"|ReplaceUnaryOperator_USub_UAdd|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue"
    r"|AddNot|NumberReplacer|ZeroIterationForLoop)"
)
# A module and the test files that are to find its faults; its docstrings and its cases of public names come on top.
TESTS = {
    "losses": "test_losses.py",
    "priors": "test_priors.py",
    "metrics": "test_metrics*.py",
    "jacobian": "test_jacobian.py",
    "layers/noise": "test_layers_noise.py test_layers_masks.py",
    "layers/sampling": "test_layers_sampling.py",
    "layers/sparse": "test_layers_sparse.py test_layers_masks.py",
    "layers/tied": "test_layers_tied.py test_layers_masks.py",
    "networks/dense": "test_networks.py",
    "networks/convolutional": "test_networks_conv.py",
    "networks/image_to_image": "test_networks_skip.py",
    "networks/recurrent": "test_networks_recurrent.py",
    "networks/parts": "test_networks*.py",
    "pretraining": "test_pretraining.py test_callbacks.py",
    "plots": "test_plots.py",
    "optimizers": "test_optimizers.py",
    "models/autoencoder": "test_models.py test_fit.py test_open_axes.py test_training_modes.py",
    "models/contractive": "test_contractive.py test_open_axes.py test_training_modes.py",
    "models/variational": "test_variational.py test_open_axes.py test_training_modes.py",
    "models/adversarial": "test_adversarial.py test_training_modes.py test_weights.py",
    "models/energy_based_gan": "test_energy_based_gan.py test_training_modes.py test_weights.py",
    "models/several_optimizers": "test_adversarial.py test_energy_based_gan.py",
    "models/batches": "test_weights.py test_fit.py test_examples.py",
    "models/learning_rates": "test_adversarial.py",
    "restoration": "test_restoration.py",
}
# Before the forks; nothing is computed with them, because TensorFlow does not work in a child of a process that did.
IMPORTED_ONCE = ("keras", "matplotlib.pyplot", "pytest", "scipy.stats", "sklearn.linear_model", "sklearn.pipeline")
# Sizes, widths and shades of a figure are a matter of taste.
LOOKS = re.compile(
    r"figsize|rcParams|\"(axes|figure|grid|legend|lines)\.|\.(legend|scatter|grid|tick_params|set_visible)\(|spine"
)
SESSION = ROOT / "build" / "mutants.jsonl"
PAGE = ROOT / "tests" / "mutants.md"
REASONS = ROOT / "tests" / "mutants.toml"
NEEDED = ("aelib", "tests", "tools", "conftest.py", "pyproject.toml")


def mutants(module):
    """Yields the key and the code of each mutant: the definition it is in, the line as it was, and as it is now."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.ast.ast_query import ASTQuery
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    source = (ROOT / "aelib" / f"{module}.py").read_text(encoding="utf-8")
    seen, keys = {source}, collections.Counter()
    for name in filter(OPERATORS.fullmatch, sorted(operator_names())):
        operator = get_operator(name)()
        nodes = [node for node in ast_nodes(get_ast(source)) for _ in operator.mutation_positions(node)]
        for occurrence, node in enumerate(nodes):
            code = mutate_code(source, operator, occurrence)
            if code in seen or not compiles(code):
                continue
            seen.add(code)
            was, now = changed_lines(source, code)
            if LOOKS.search(was):
                continue
            key = module, ASTQuery(node).get_definition_name(), was, now
            keys[key] += 1
            yield (*key, keys[key]), code


def compiles(code):
    try:
        compile(code, "mutant", "exec")
    except SyntaxError:  # `**` of a call is not a power
        return False
    return True


def changed_lines(source, code):
    lines = [line for line in difflib.ndiff(source.splitlines(), code.splitlines()) if line[0] in "-+"]
    return tuple(" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")


class Child:
    """A forked process that runs a module's tests on a copy of the sources."""

    def __init__(self, folder, module, code, durations, limit):
        self.folder, self.start, self.limit = folder, time.monotonic(), limit
        target = folder / "aelib" / f"{module}.py"
        target.write_text(code, encoding="utf-8")
        for compiled in target.parent.glob(f"__pycache__/{target.stem}.*"):
            compiled.unlink()  # it would be taken for the new one's, if both have one length and second
        self.process = os.fork()
        if self.process == 0:
            os.setsid()  # with it goes what the tests start themselves
            # Of the processor's time, so that a busy machine is not taken for a fault.
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            try:
                status = run_tests(folder, module, durations)
            except BaseException:
                status = 3
            os._exit(status)

    def outcome(self):
        """What pytest said, once it is over; `None` until then."""
        process, status = os.waitpid(self.process, os.WNOHANG)
        if not process and time.monotonic() < self.start + 10 * self.limit:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        if not process:
            os.waitpid(self.process, 0)
            return "timeout"
        outcomes = {0: "survived", 1: "killed", -signal.SIGKILL: "timeout", -signal.SIGXCPU: "timeout"}
        return outcomes.get(os.waitstatus_to_exitcode(status), "error")


def run_tests(folder, module, durations):
    import pytest

    class FromQuickToSlow:
        def pytest_collection_modifyitems(self, items):
            names = "|".join(re.findall(r"(?m)^(?:class|def) ([A-Za-z]\w*)", source))
            other = re.compile(rf"test_public_names\.py::.*\[(?!{module.split('/')[0]}\.({names})\b)")
            items[:] = [item for item in items if not other.search(item.nodeid)]
            items.sort(key=lambda item: durations.get(item.nodeid, 0))

        def pytest_runtest_logreport(self, report):
            seconds[report.nodeid] = seconds.get(report.nodeid, 0) + report.duration
            if report.failed:
                failed.append(report.nodeid)

    seconds, failed = {}, []
    source = (folder / "aelib" / f"{module}.py").read_text(encoding="utf-8")
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    files = map(str, test_files(folder, module))
    options = ["-x", "-q", "-o", "addopts=", "-p", "no:cacheprovider", "--doctest-modules"]
    status = pytest.main([*options, *files, f"aelib/{module}.py"], plugins=[FromQuickToSlow()])
    (folder / "seconds.json").write_text(json.dumps({"seconds": seconds, "failed": failed}), encoding="utf-8")
    return int(status)


def copies(count):
    """Folders for children that work at the same time."""
    for index in range(count):
        folder = ROOT / "build" / "mutants" / str(index)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in NEEDED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        yield folder


def test_files(folder, module):
    patterns = *TESTS[module].split(), "test_public_names.py"
    return sorted(path for pattern in patterns for path in folder.glob(f"tests/{pattern}"))


def hash_of_tests(module):
    return hashlib.sha256(b"".join(path.read_bytes() for path in test_files(ROOT, module))).hexdigest()[:12]


def session():
    """The last outcome of each mutant that was tried."""
    lines = SESSION.read_text(encoding="utf-8").splitlines() if SESSION.exists() else []
    return {tuple(entry["mutant"]): entry for entry in map(json.loads, lines)}


def try_module(module, folders):
    tests, done = hash_of_tests(module), session()
    todo = [
        (key, code)
        for key, code in mutants(module)
        if key not in done or (done[key]["outcome"] == "survived" and done[key]["tests"] != tests)
    ]
    if not todo:
        return
    source = (ROOT / "aelib" / f"{module}.py").read_text(encoding="utf-8")
    plain = wait_for(Child(folders[0], module, source, {}, 1200))
    if plain != "survived":
        sys.exit(
            f"{module}: its tests fail without a mutant\n{(folders[0] / 'output.txt').read_text(encoding='utf-8')}"
        )
    durations = json.loads((folders[0] / "seconds.json").read_text(encoding="utf-8"))["seconds"]
    limit = 30 + int(3 * sum(durations.values()))
    print(f"{module}: {len(todo)} mutants to try; its tests take {sum(durations.values()):.0f} s", flush=True)
    running = {}
    while todo or running:
        for folder in folders:
            if folder not in running and todo:
                key, code = todo.pop(0)
                running[folder] = key, Child(folder, module, code, durations, limit)
        time.sleep(0.02)
        for folder, (key, child) in list(running.items()):
            if outcome := child.outcome():
                del running[folder]
                if outcome == "killed":
                    # What has found one fault often finds the next: it moves to the front.
                    found = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))["failed"]
                    durations |= {test: durations.get(test, 1) / 4 for test in found}
                seconds = round(time.monotonic() - child.start, 1)
                entry = {"mutant": key, "outcome": outcome, "tests": tests, "seconds": seconds}
                with SESSION.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
    for folder in folders:
        (folder / "aelib" / f"{module}.py").write_text(source, encoding="utf-8")


def wait_for(child):
    while not (outcome := child.outcome()):
        time.sleep(0.05)
    return outcome


def write_page():
    """Writes the table of what was tried; a survivor without a reason is named as one."""
    done, reasons = session(), tomllib.loads(REASONS.read_text(encoding="utf-8")).get("harmless", [])
    rows, survivors, seconds = [], [], 0
    for module in TESTS:
        keys = [key for key, _ in mutants(module)]
        tried = {key: done[key] for key in keys if key in done}
        seconds += sum(entry["seconds"] for entry in tried.values())
        alive = [key for key, entry in tried.items() if entry["outcome"] == "survived"]
        rows.append(f"| `{module}` | {len(keys)} | {len(tried)} | {len(tried) - len(alive)} | {len(alive)} |")
        survivors += alive
    text = [
        "# Planted faults and the tests that find them",
        "",
        "Written by `make mutants` (`tools/mutants.py`) from the mutants that cosmic-ray makes of each module, each",
        "tried against the module's own tests. The reasons stand in `tests/mutants.toml`.",
        "Where fewer were tried than there are, the run is not finished.",
        f"So far it took {seconds / 60:.0f} minutes of one process.",
        "",
        "| module | mutants | tried | found | not found |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "## Not found, and why that is harmless",
    ]
    for module, definition, was, now, _ in survivors:
        why = [each["why"] for each in reasons if each["module"] == module and (was, now) in pairs(each)]
        text += ["", f"`{module}`, {definition}: {why[0] if why else '**no reason is given**'}", ""]
        text += ["```diff", f"- {was}", f"+ {now}", "```"]
    PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")
    print(f"{len(survivors)} survivors: {PAGE.relative_to(ROOT)}")


def pairs(reason):
    return {(reason["was"], now) for now in reason["now"]}


def main():
    chosen = sys.argv[1:] or list(TESTS)
    os.environ |= {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MPLBACKEND": "agg",
        "KERAS_BACKEND": "tensorflow",
    }
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    SESSION.parent.mkdir(exist_ok=True)
    folders = list(copies(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))
    for module in chosen:
        try_module(module, folders)
    write_page()


if __name__ == "__main__":
    main()
