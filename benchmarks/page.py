"""Makes benchmarks/README.md and its figures from the results: python -m benchmarks.page

Every number on the page is read from results/*.json. No text here has a digit: tests/test_benchmarks.py checks it.
"""

import json
import math

import matplotlib.pyplot as plt

from aelib import plots
from benchmarks import common

FOLDER = common.ROOT / "benchmarks"
NAMES = ("step_time", "penalty_cost", "scaling", "lesson_time")
WAYS = {
    "floor": "arithmetic floor",
    "bare": "bare `tf.function` loop",
    "aelib": "aelib, `fit`",
    "aelib_xla": "aelib, `fit`, XLA",
    "keras": "plain Keras `fit`",
    "torch": "bare PyTorch loop",
    "torch_fused": "PyTorch, fused Adam",
    "pythae": "pythae",
}
PENALTIES = {
    "none": "none",
    "closed_form": "closed form",
    "projected": "projected",
    "stochastic": "stochastic",
    "exact": "exact",
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


# ---- the four sections


def step_time(result, folder):
    config, models = result["configuration"], result["models"]
    ways = [way for way in WAYS if any(way in found["milliseconds"] for found in models.values())]
    milliseconds = [
        [model, *(number(found["milliseconds"].get(way)) for way in ways)] for model, found in models.items()
    ]
    first = [way for way in ways if way != "floor"]
    compiling = [
        [model, *(number(found["compile_seconds"].get(way), digits=1) for way in first)]
        for model, found in models.items()
    ]
    absent = [WAYS[way] for way in WAYS if way not in ways]
    architectures = "; ".join(f"{model} {architecture(spec)}" for model, spec in config["models"].items())
    figure, ax = plt.subplots(figsize=(8.0, 3.4))
    width = 1 / (len(ways) + 1)
    for place, way in enumerate(ways):
        values = [found["milliseconds"].get(way, 0) for found in models.values()]
        ax.bar([x + place * width for x in range(len(models))], values, width, label=WAYS[way].replace("`", ""))
    ax.set_xticks([x + width * (len(ways) - 1) / 2 for x in range(len(models))], models)
    ax.set(ylabel="milliseconds a step")
    legend_outside(ax)
    save(figure, folder / "step_time.svg")
    return f"""## Step time

What a training step costs: through `fit` as the lessons call it, {config["steps_per_execution"]} steps an execution,
and the same model elsewhere. Same widths, batches of {config["batch_size"]}, Adam, and a fresh permutation of the
images in every epoch. All ways take turns in random order in one run of {config["rounds"]} rounds. A turn is a whole
call, its start included, after a first call that compiles. {where(result)}

- Models: {architectures}. AAE has a discriminator, CAE a decoder with the encoder's kernel and the closed form.
- Arithmetic floor: the operations of a step, as TensorFlow's profiler counts them, at the rate of a large matrix
  product in the same run, {number(result["gflops"])} GFLOP a second.
- Bare loop: the update written out, one `tf.function`, images in one tensor. Plain Keras: a functional model, or a
  `train_step` as in Keras's own examples; `fit` on arrays with its defaults. PyTorch: the usual eager loop over one
  tensor, and the same with the optimizer's fused kernel. pythae: its trainer's epochs, without the copies that it
  saves; its AAE makes all updates from one pass. All silent.
{absent_text(absent)}
Milliseconds a step, medians:

{table(["model", *(WAYS[way] for way in ways)], milliseconds)}

![Milliseconds a step](step_time.svg)

Wanted: at most {config["targets"]["aelib / bare"]:g} times the bare loop, and not slower than plain Keras, PyTorch and
pythae as they come. How many times as long aelib takes, the median of the rounds' ratios (below one, aelib is faster;
bold, a target is missed):

{ratios(result, "aelib", ways)}

{account(result, lambda spec: "aelib")}

A bare TensorFlow loop that is itself slower than PyTorch's bounds what `fit` can reach so. What joins elementwise
operations and the optimizer's passes over the weights is XLA, Keras's `compile(..., jit_compile=True)`:

{ratios(result, "aelib_xla", ways)}

With XLA for every model but the convolutional one:

{account(result, lambda spec: "aelib" if "filters" in spec else "aelib_xla")}

XLA is left to the learner, because it does not speed up every model, and because it compiles for every model and every
size of a batch, training and validation apart: a lesson's training of a few hundred steps does not win that back.

Seconds of the first call above those of a later one:

{table(["model", *(WAYS[way] for way in first)], compiling)}
"""


def ratios(result, ours, ways):
    """Returns a table of what one of our ways takes in comparison with the others."""
    rows = []
    for model, found in result["models"].items():
        values = {way: found["ratio"][ours].get(way) for way in ways if not way.startswith(("floor", "aelib"))}
        wanted = {way: limit(way, result["configuration"]["targets"]) for way in values}
        rows.append([model, *(bold(number(value), (value or 0) > wanted[way]) for way, value in values.items())])
    return table(["model", *(WAYS[way] for way in values)], rows)


def account(result, way_of):
    """Returns how many targets are kept if `way_of(model's configuration)` is our way to train a model."""
    config = result["configuration"]
    checks = []
    for model, found in result["models"].items():
        ours = way_of(config["models"][model])
        for way, value in found["ratio"][ours].items():
            if limit(way, config["targets"]) < math.inf:
                checks.append((f"{model}, {WAYS[ours]} / {WAYS[way]}", value, limit(way, config["targets"])))
    return verdict(checks)


def limit(way, targets):
    """Returns the greatest ratio that is wanted; any against what PyTorch's users have to ask for."""
    if way == "torch_fused":
        return math.inf
    return targets["aelib / bare" if way == "bare" else "aelib / other"]


def architecture(spec):
    if "filters" in spec:
        return f"with {' and '.join(map(str, spec['filters']))} filters and a code of {spec['latent_dim']}"
    return "-".join(map(str, spec["widths"]))


def absent_text(absent):
    return f"- Not installed in this run: {', '.join(absent)}.\n" if absent else ""


def penalty_cost(result, folder):
    config = result["configuration"]
    figure, axes = plt.subplots(len(("milliseconds", "megabytes")), 2, figsize=(8.0, 6.0))
    parts = []
    for column, (kind, what) in enumerate((("width", "hidden units"), ("depth", "layers"))):
        found = result[kind]
        for row, (quantity, label) in enumerate((("milliseconds", "milliseconds a step"), ("megabytes", "megabytes"))):
            ax = axes[row][column]
            for penalty, values in found[quantity].items():
                ax.plot([int(key) for key in values], list(values.values()), "o-", label=PENALTIES[penalty])
            ax.set(xscale="log", yscale="log", xlabel=what, ylabel=label)
            ax.set_xticks([int(key) for key in found[quantity]["none"]], list(found[quantity]["none"]))
            ax.tick_params(axis="x", which="minor", labelbottom=False)
        keys = list(found["milliseconds"]["none"])
        for quantity, exponent, title in (
            ("milliseconds", "exponent_of_time", "Milliseconds a step"),
            ("megabytes", "exponent_of_memory", "Megabytes at the peak, above those of training a single hidden unit"),
        ):
            rows = [
                [
                    PENALTIES[penalty],
                    *(number(values.get(key), digits=1) for key in keys),
                    number(found[exponent][penalty]),
                ]
                for penalty, values in found[quantity].items()
            ]
            parts.append(f"{title}, by {what}, and the exponent of the power law that fits best:\n\n")
            parts.append(table(["penalty", *keys, "exponent"], rows) + "\n\n")
    axes[0][0].legend(fontsize="small")
    save(figure, folder / "penalty_cost.svg")
    checks = [
        (f"{PENALTIES[penalty]}, {key} units", value, config["targets"][f"{penalty} / none"])
        for penalty in ("closed_form", "projected")
        for key, value in result["width"]["ratio"][penalty].items()
    ]
    units = list(result["width"]["ratio"]["none"])
    ratios = [
        [PENALTIES[penalty], *(number(values.get(key)) for key in units)]
        for penalty, values in result["width"]["ratio"].items()
        if penalty != "none"
    ]
    return f"""## Penalty cost

What a contractive penalty adds to a step of {config["batch_size"]} images: sigmoid layers, a decoder with the same
kernels, Adam, through `fit`; one probe for the projected penalty. Depth: so many layers of
{config["units_of_a_layer"]} units. Medians of {config["rounds"]} rounds in random order; memory of one process for each
point. The exact penalty stops at {config["exact_up_to"]:,} units because of what it takes there. {where(result)}

{"".join(parts)}![Time and memory of a step](penalty_cost.svg)

How many times as long as a step without a penalty, medians of the rounds' ratios, by hidden units:

{table(["penalty", *units], ratios)}

Wanted: at most {config["targets"]["closed_form / none"]:g} times for the closed form,
{config["targets"]["projected / none"]:g} times for the projected penalty. {verdict(checks)}
"""


def scaling(result, folder):
    config, batch = result["configuration"], result["batch"]
    figure, ax = plt.subplots(figsize=(6.0, 2.8))
    ax.plot([int(size) for size in batch], list(batch.values()), "o-")
    ax.set(xscale="log", xlabel="batch size", ylabel="images a second", ylim=(0, None))
    save(figure, folder / "scaling.svg")
    streams = [
        [f"{int(size):,}", number(found["images_per_second"]), number(found["megabytes"])]
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
    settings = config["distributed"]
    return f"""## Scaling

The dense autoencoder {architecture(config)} through `fit`. {where(result)}

Images a second, by batch size, medians of {config["rounds"]} rounds:

{table(["batch size", *batch], [["images a second", *(number(value) for value in batch.values())]])}

![Images a second](scaling.svg)

A training set that is never in memory: bytes made batch by batch ({config["stream"]["batch_size"]} images) by a Python
generator, scaled by `tf.data`, one epoch. The peak of memory, above that of the imported library, must not grow:

{table(["images", "images a second", "megabytes at the peak"], streams)}

TensorFlow's own distribution of the same model, compiled as ever: logical devices of one process under
`MirroredStrategy`, by `fit`; and processes that talk over the loopback interface under `MultiWorkerMirroredStrategy`,
by `strategy.run(model.train_step, ...)` in a loop, because Keras's `fit` fails there
([report]({config["report"]})). Each replica trains on its share of the same batches of {settings["batch_size"]}. The
cores are the same in every row, so there is nothing to gain: what grows is the price of the distribution. The last
column is the greatest difference of any weight from those of one device after
{(1 + config["rounds"]) * settings["steps"]} steps; above {config["targets"]["greatest_difference"]:.0e} there would be
no table.

{table(["", "milliseconds a step", "difference"], distributed)}
"""


def lesson_time(result, folder):
    lessons, config = result["lessons"], result["configuration"]
    kinds = list(next(iter(lessons.values()))["seconds"])
    [target] = config["targets"].values()
    rows = [
        [
            found["title"].split(":")[0],
            *(number(found["seconds"][kind], digits=1) for kind in kinds),
            number(found["total"], digits=1),
            bold(f"{found['share']:.0%}", found["share"] > target),
        ]
        for found in lessons.values()
    ]
    missed = [found["title"].split(":")[0] for found in lessons.values() if found["share"] > target]
    figure, ax = plt.subplots(figsize=(8.0, 3.0))
    left = [0.0] * len(lessons)
    for kind in kinds:
        values = [found["seconds"][kind] for found in lessons.values()]
        ax.barh([name.split("_")[0] for name in lessons], values, left=left, label=kind)
        left = [a + b for a, b in zip(left, values, strict=True)]
    ax.invert_yaxis()
    ax.set(xlabel="seconds", ylabel="lesson")
    legend_outside(ax)
    save(figure, folder / "lesson_time.svg")
    return f"""## Lessons

Seconds of each lesson's cells when `make lessons` ran them, by what the cell does: a cell that fits a model to data
counts as training, even if it draws too; what only evaluates, encodes or checks is the rest. The start of the kernel is
not in it. {where(result)}

{table(["lesson", *kinds, "all", "outside import, training, figures"], rows)}

![Seconds of each lesson](lesson_time.svg)

At most {target:.0%} should lie outside import, training and figures: {len(lessons) - len(missed)} of {len(lessons)}
lessons keep to it{"." if not missed else f"; not {', '.join(missed)}."}
"""


# ---- the page


def save(figure, path):
    figure.savefig(path, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    plt.close(figure)


def make(folder=FOLDER, found=None):
    """Writes the page and its figures into a folder, from all results that are there."""
    plots.use_style()
    # The same results give the same figures, byte by byte; text stays text.
    plt.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"})
    found = results() if found is None else found
    sections = [globals()[name](found[name], folder) for name in NAMES if name in found]
    text = f"""# Benchmarks

`make bench` measures everything here anew, `make bench BENCH={NAMES[0]}` one section; so for
{", ".join(f"`{name}`" for name in NAMES[1:])}. This page and its figures are made by `benchmarks/page.py` from the
measurements in `benchmarks/results/`; nothing is typed.

{chr(10).join(sections)}"""
    (folder / "README.md").write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    make()
