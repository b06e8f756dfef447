"""What the benchmarks share: results as JSON, and other Python processes that answer questions."""

import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BUILD = ROOT / "build" / "benchmarks"


def versions(*packages):
    """Returns the versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine():
    """Returns what of the machine matters for speed, without its name."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
    else:
        sysctl = ["sysctl", "-n", "machdep.cpu.brand_string"]
        names = [subprocess.run(sysctl, capture_output=True, text=True, check=True).stdout.strip()]
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(), "system": platform.system()}


def write(name, config, results, **more):
    """Writes results/<name>.json: the machine, the versions, the configuration, the results."""
    everything = {
        "machine": machine(),
        "versions": versions("tensorflow", "tensorflow-cpu", "keras", "numpy") | more.pop("versions", {}),
        "configuration": config,
        **results,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(rounded(everything), indent=1) + "\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)} written", flush=True)


def rounded(value):
    """Returns the value with four significant digits in every float: more are noise."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def median_ratio(values, others):
    """Returns the median of the ratios round by round: what slows the machine in a round slows both."""
    return statistics.median(a / b for a, b in zip(values, others, strict=True))


def peak_megabytes():
    """Returns the most memory that this process has had so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def in_new_process(function, *arguments):
    """Returns the function's result from a process that has imported aelib and done nothing else."""
    with _fresh_processes(1) as pool:
        return pool.apply(function, arguments)


def in_new_processes(count, function, *arguments):
    """Returns the results of as many new processes, run at the same time; the first argument is the number of each."""
    with _fresh_processes(count) as pool:
        return pool.starmap(function, [(number, *arguments) for number in range(count)], chunksize=1)


def _fresh_processes(count):
    # Copies of one process that is made once, because importing TensorFlow takes seconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["aelib"])
    return context.Pool(count, maxtasksperchild=1)


class Worker:
    """A Python process of any environment that has run `serve` of a module of benchmarks/."""

    def __init__(self, python, module):
        BUILD.mkdir(parents=True, exist_ok=True)
        self.log = BUILD / f"{module}.log"
        command = [python, "-m", f"benchmarks.{module}"]
        with self.log.open("w") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)

    def ask(self, function, *arguments):
        """Returns the answer of one of the functions given to `serve`."""
        self.process.stdin.write(json.dumps([function, *arguments]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"A worker ended when asked for {function}{arguments}: see {self.log.name}.")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def stopwatch(ways):
    """Returns `seconds(model, way)`, the wall time of a turn of `ways[way](model)`; a first turn also builds that."""
    ready = {}

    def seconds(model, way):
        begin = time.perf_counter()
        if (model, way) not in ready:
            ready[model, way] = ways[way](model)
        ready[model, way]()
        return time.perf_counter() - begin

    return seconds


def serve(*functions):
    """Answers each line of standard input, `[function, *arguments]` as JSON, with a line of standard output."""
    known = {function.__name__: function for function in functions}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed does not belong to the answers
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(known[name](*arguments)), file=answers, flush=True)
