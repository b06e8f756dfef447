"""Makes benchmarks/README.md and its figures from the results: python -m benchmarks.page

Every number on the page is read from results/*.json. Its words are in text/*.md, a file for each section, with braces
where a value goes, and have no digit: tests/test_benchmarks.py checks it.
"""

import json

import matplotlib.pyplot as plt

from aelib import plots
from benchmarks import common

FOLDER = common.ROOT / "benchmarks"
NAMES = ("step_time", "penalty_cost", "scaling", "lesson_time")
WAYS = {
    "floor": "arithmetic floor",
    "bare": "bare `tf.function` loop",
    "aelib": "aelib, `fit`",
    "aelib_keras_adam": "aelib, `fit`, Keras's Adam",
    "aelib_xla": "aelib, `fit`, XLA",
    "keras": "plain Keras `fit`",
    "torch": "bare PyTorch loop",
    "torch_fused": "PyTorch, fused Adam",
    "pythae": "pythae",
}


def results(folder=common.RESULTS):
    """Returns the results that are there, by name."""
    paths = {name: folder / f"{name}.json" for name in NAMES}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


# ---- parts of a page


def table(head, rows):
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def number(value, digits=2):
    """Returns a number as text, without digits that are noise; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.{max(0, digits - len(str(int(abs(value)))) + 1)}f}"


def numbers(values, keys, digits=2):
    return [number(values.get(key), digits) for key in keys]


def bold(text, condition):
    return f"**{text}**" if condition else text


def verdict(checks):
    """Returns how many of the (what, value, limit) keep to their limit, and a line for each that does not."""
    missed = [
        f"- **missed**: {what}: {value:.3f}, at most {limit:g} wanted" for what, value, limit in checks if value > limit
    ]
    kept = f"Of {len(checks)} targets {len(checks) - len(missed)} are kept{'. The others:' if missed else '.'}"
    return "\n".join([kept, "", *missed] if missed else [kept])


def where(result):
    machine, versions = result["machine"], result["versions"]
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['system']}; {names}."


def legend_outside(ax):
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")


# ---- the four sections: each draws its figure, and returns the values for its text


def step_time(result):
    models = result["models"]
    ways = [way for way in WAYS if any(way in found["milliseconds"] for found in models.values())]
    absent = ", ".join(WAYS[way] for way in result["configuration"]["ways"]["torch"] if way not in ways)
    figure, ax = plt.subplots(figsize=(8.0, 3.4))
    width = 1 / (len(ways) + 1)
    for place, way in enumerate(ways):
        values = [found["milliseconds"].get(way, 0) for found in models.values()]
        ax.bar([x + place * width for x in range(len(models))], values, width, label=WAYS[way].replace("`", ""))
    ax.set_xticks([x + width * (len(ways) - 1) / 2 for x in range(len(models))], models)
    ax.set(ylabel="milliseconds a step")
    legend_outside(ax)

    def by_model(quantity, ways, digits=2):
        rows = [[model, *numbers(found[quantity], ways, digits)] for model, found in models.items()]
        return table(["model", *(WAYS[way] for way in ways)], rows)

    return figure, {
        "models": "; ".join(
            f"{model} {architecture(spec)}" for model, spec in result["configuration"]["models"].items()
        ),
        "gflops": number(result["gflops"]),
        "absent": f"- Not installed in this run: {absent}.\n" if absent else "",
        "milliseconds": by_model("milliseconds", ways),
        "ratios": ratios(result, "aelib", ways),
        "verdict": account(result, lambda spec: "aelib"),
        "ratios_xla": ratios(result, "aelib_xla", ways),
        "verdict_xla": account(result, lambda spec: "aelib" if "filters" in spec else "aelib_xla"),
        "compiling": by_model("compile_seconds", [way for way in ways if way != "floor"], digits=1),
    }


def ratios(result, ours, ways):
    """Returns a table of what one of our ways takes in comparison with the others."""
    others = [way for way in ways if not way.startswith(("floor", "aelib"))]
    rows = []
    for model, found in result["models"].items():
        values = found["ratio"][ours]
        cells = [bold(number(values.get(way)), values.get(way, 0) > limit(way, result)) for way in others]
        rows.append([model, *cells])
    return table(["model", *(WAYS[way] for way in others)], rows)


def account(result, way_of):
    """Returns how many targets are kept if `way_of(model's configuration)` is our way to train a model."""
    checks = []
    for model, found in result["models"].items():
        ours = way_of(result["configuration"]["models"][model])
        for way, value in found["ratio"][ours].items():
            checks.append((f"{model}, {WAYS[ours]} / {WAYS[way]}", value, limit(way, result)))
    return verdict(checks)


def limit(way, result):
    """Returns the greatest ratio that is wanted."""
    targets = result["configuration"]["targets"]
    return targets.get(f"aelib / {way}", targets["aelib / other"])


def architecture(spec):
    if "filters" in spec:
        return f"with {' and '.join(map(str, spec['filters']))} filters and a code of {spec['latent_dim']}"
    return "-".join(map(str, spec["widths"]))


def penalty_cost(result):
    figure, axes = plt.subplots(len(("milliseconds", "megabytes")), 2, figsize=(8.0, 6.0))
    costs = []
    for column, (kind, what) in zip(axes.T, (("width", "hidden units"), ("depth", "layers")), strict=True):
        found = result[kind]
        keys = list(found["milliseconds"]["none"])
        for ax, quantity, exponent, title in zip(
            column,
            ("milliseconds", "megabytes"),
            ("exponent_of_time", "exponent_of_memory"),
            ("Milliseconds a step", "Megabytes at the peak, above those of training a single hidden unit"),
            strict=True,
        ):
            rows = []
            for penalty, values in found[quantity].items():
                name = penalty.replace("_", " ")
                ax.plot([int(key) for key in values], list(values.values()), "o-", label=name)
                rows.append([name, *numbers(values, keys, digits=1), number(found[exponent][penalty])])
            ax.set(xscale="log", yscale="log", xlabel=what, ylabel=title.split(" at ")[0].lower())
            ax.set_xticks([int(key) for key in keys], keys)
            ax.tick_params(axis="x", which="minor", labelbottom=False)
            costs.append(f"{title}, by {what}, and the exponent of the power law that fits best:")
            costs.append(table(["penalty", *keys, "exponent"], rows))
    axes[0][0].legend(fontsize="small")
    times = {penalty.replace("_", " "): values for penalty, values in result["width"]["ratio"].items()}
    units = list(times.pop("none"))
    targets = result["configuration"]["targets"]
    checks = [
        (f"{name}, {key} units", value, targets[f"{name.replace(' ', '_')} / none"])
        for name in ("closed form", "projected")
        for key, value in times[name].items()
    ]
    return figure, {
        "costs": "\n\n".join(costs),
        "ratios": table(["penalty", *units], [[name, *numbers(values, units)] for name, values in times.items()]),
        "verdict": verdict(checks),
    }


def scaling(result):
    config, batch = result["configuration"], result["batch"]
    figure, ax = plt.subplots(figsize=(6.0, 2.8))
    ax.plot([int(size) for size in batch], list(batch.values()), "o-")
    ax.set(xscale="log", xlabel="batch size", ylabel="images a second", ylim=(0, None))
    streams = [
        [f"{int(size):,}", *numbers(found, ("images_per_second", "megabytes"))]
        for size, found in result["stream"].items()
    ]
    distributed = [
        [
            f"{count} {kind if int(count) > 1 else kind[:-1]}",
            number(found["milliseconds"]),
            f"{found['difference']:.1e}",
        ]
        for kind in ("replicas", "workers")
        for count, found in result[kind].items()
    ]
    return figure, {
        "architecture": architecture(config),
        "batch_sizes": table(["batch size", *batch], [["images a second", *numbers(batch, batch)]]),
        "streams": table(["images", "images a second", "megabytes at the peak"], streams),
        "steps": (1 + config["rounds"]) * config["distributed"]["steps"],
        "distributed": table(["", "milliseconds a step", "difference"], distributed),
    }


def lesson_time(result):
    lessons = result["lessons"]
    kinds = list(next(iter(lessons.values()))["seconds"])
    [target] = result["configuration"]["targets"].values()
    titles = {name: found["title"].split(":")[0] for name, found in lessons.items()}
    rows = [
        [
            titles[name],
            *numbers(found["seconds"], kinds, digits=1),
            number(found["total"], digits=1),
            bold(f"{found['share']:.0%}", found["share"] > target),
        ]
        for name, found in lessons.items()
    ]
    missed = [titles[name] for name, found in lessons.items() if found["share"] > target]
    figure, ax = plt.subplots(figsize=(8.0, 3.0))
    left = [0.0] * len(lessons)
    for kind in kinds:
        values = [found["seconds"][kind] for found in lessons.values()]
        ax.barh([name.split("_")[0] for name in lessons], values, left=left, label=kind)
        left = [a + b for a, b in zip(left, values, strict=True)]
    ax.invert_yaxis()
    ax.set(xlabel="seconds", ylabel="lesson")
    legend_outside(ax)
    return figure, {
        "seconds": table(["lesson", *kinds, "all", "outside import, training, figures"], rows),
        "kept": len(lessons) - len(missed),
        "all": len(lessons),
        "missed": f"; not {', '.join(missed)}" if missed else "",
    }


# ---- the page

HEAD = """# Benchmarks

`make bench` measures everything here anew, `make bench BENCH={}` one section; so for
{}. This page and its figures are made by `benchmarks/page.py` from the
measurements in `benchmarks/results/`; nothing is typed.

`make bench BENCH="longer_samples longer_pretraining"` measures no speed: it trains lessons' models longer than a lesson
may last, and stores what they draw then and how well they rebuild, for the lessons to show.
`make bench BENCH=representations` measures every model of the course in the tasks of the lesson on representations,
which reads what it stores."""


def make(folder=FOLDER, found=None):
    """Writes the page and its figures into a folder, from all results that are there."""
    plots.use_style()
    # The same results give the same figures, byte by byte; text stays text.
    plt.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"})
    found = results() if found is None else found
    first, *others = NAMES
    sections = [HEAD.format(first, ", ".join(f"`{name}`" for name in others))]
    for name in (name for name in NAMES if name in found):
        figure, values = globals()[name](found[name])
        figure.savefig(folder / f"{name}.svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        plt.close(figure)
        text = (FOLDER / "text" / f"{name}.md").read_text(encoding="utf-8")
        sections.append(text.format(config=found[name]["configuration"], where=where(found[name]), **values).rstrip())
    (folder / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make()
