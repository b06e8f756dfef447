"""The benchmarks' page says what was measured, and nothing else; what the scripts compute besides times is right."""

import ast
import copy
import json
import re
import tomllib

import keras
import nbformat
import numpy as np
import pytest
from packaging.requirements import Requirement

from aelib import models
from aelib.data import load_mnist
from benchmarks import (
    common,
    lesson_time,
    longer_pretraining,
    longer_samples,
    page,
    penalty_cost,
    photograph_shapes,
    scaling,
)


def test_page_is_made_from_the_stored_results(tmp_path):
    assert set(page.results()) == set(page.NAMES)
    page.make(tmp_path)
    stored = (common.ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == stored, "run python -m benchmarks.page"
    for figure in re.findall(r"\]\((\w+\.svg)\)", stored):
        assert (tmp_path / figure).exists() and (common.ROOT / "benchmarks" / figure).exists()


def test_no_number_on_the_page_is_typed():
    tree = ast.parse((common.ROOT / "benchmarks" / "page.py").read_text(encoding="utf-8"))
    formats = {id(part) for node in ast.walk(tree) if isinstance(node, ast.FormattedValue) and node.format_spec
               for part in ast.walk(node.format_spec)}  # fmt: skip
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in formats
    ]
    assert len(texts) > 100
    assert [text for text in texts if re.search(r"\d", text) and text != "utf-8"] == []
    for name in page.NAMES:
        text = (common.ROOT / "benchmarks" / "text" / f"{name}.md").read_text(encoding="utf-8")
        assert re.findall(r"[^\n]*\d[^\n]*", re.sub(r"\{[^{}]*\}", "", text)) == []


def test_page_says_what_is_missing_and_what_is_missed(tmp_path):
    found = copy.deepcopy(page.results())
    for measured in found["step_time"]["models"].values():
        for values in (measured["milliseconds"], measured["compile_seconds"], *measured["ratio"].values()):
            values.pop("torch", None)
            values.pop("pythae", None)
    found["step_time"]["models"]["dense"]["ratio"]["aelib"]["bare"] = 1.987
    page.make(tmp_path, {"step_time": found["step_time"]})
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Not installed in this run: bare PyTorch loop, pythae." in text
    assert "**missed**: dense, aelib, `fit` / bare `tf.function` loop: 1.987, at most 1.15 wanted" in text


def test_results_name_no_place():
    for path in common.RESULTS.glob("*.json"):
        assert str(common.ROOT) not in path.read_text(encoding="utf-8")


def test_exponent_of_a_power_law():
    assert penalty_cost.exponent({10: 3 * 10**1.7, 40: 3 * 40**1.7, 90: 3 * 90**1.7}) == pytest.approx(1.7)


def test_ratio_is_taken_round_by_round():
    """The second half of the rounds was twice as slow for both: their ratio is still 1.5."""
    assert common.median_ratio([3, 3, 6, 6], [2, 2, 4, 4]) == 1.5


def test_ports_are_different_and_free():
    assert len(set(scaling.free_ports(4))) == 4


def test_lessons_cells_are_told_apart():
    sources = {
        "import os\n\nif colab:\n    %pip install -q x\ndigits = load_mnist()": "import",
        "digits = data.load_mnist()\nprint(digits)": "data",
        "def train(model):\n    return model.fit(x)\n\n\ndef twice(model):\n    train(model)\n    train(model)": "rest",
        "histories = [twice(model) for _ in range(3)]\nplt.show()": "training",
        "ax.plot(x)\nplt.show()": "figures",
        "error = model.evaluate(x)": "rest",
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    for number, cell in enumerate(notebook.cells):
        cell.metadata["execution"] = {
            "iopub.status.busy": "2026-01-01T00:00:00.000000Z",
            "iopub.status.idle": f"2026-01-01T00:00:{2**number:02}.000000Z",
        }
    expected = dict.fromkeys(lesson_time.KINDS, 0.0)
    for number, kind in enumerate(sources.values()):
        expected[kind] += 2**number
    assert lesson_time.split(notebook) == expected


def test_longer_samples_of_the_variational_autoencoder_at_a_small_size():
    small = {"updates": 100, "drawn": 100}
    facts, drawn = longer_samples.variational(load_mnist("sample"), longer_samples.CONFIG["variational"] | small)
    assert facts["bound"] == pytest.approx(facts["reconstruction"] + facts["kl"])
    assert 50 < facts["bound"] < 784 * np.log(2)  # better than a fair coin for every pixel
    assert list(drawn) == ["prior", "mixture", "posteriors"]
    for images in drawn.values():
        assert images.shape == (100, 784)
        assert 0 <= images.min() < images.max() <= 1


def test_longer_samples_of_the_adversarial_autoencoder_at_a_small_size():
    small = {"updates": 200, "drawn": 100, "components": 3}
    keras.utils.set_random_seed(0)
    facts, drawn = longer_samples.adversarial(load_mnist("sample"), longer_samples.CONFIG["adversarial"] | small)
    assert 0 <= facts["on the spiral"] <= 1
    assert 0 <= facts["covered"] <= 1
    # two equal samples of 1,000 points have an MMD squared near 0, two that never meet less than 2
    assert all(-0.01 < value < 2 for name, value in facts.items() if name.startswith("MMD squared"))
    # eight numbers rebuild better than two, even after 200 updates, and anything better than black images
    assert facts["error, plain"] < facts["error, spiral"] < np.mean(np.sum(load_mnist("sample").x_test ** 2, axis=1))
    assert list(drawn) == ["prior", "mixture"]
    for images in drawn.values():
        assert images.shape == (100, 784)
        assert 0 <= images.min() < images.max() <= 1


def test_judge_of_the_longer_samples_tells_digits_from_mixed_images():
    digits = load_mnist("sample")
    share_of_digits = longer_samples.judge(digits, {"classifiers": 1, "updates": 300})
    upper_halves = np.arange(784) < 392
    mixed = np.where(upper_halves, digits.x_test, np.roll(digits.x_test, 1, axis=0))
    assert share_of_digits(digits.x_test) > share_of_digits(mixed) + 0.3


def test_longer_samples_are_stored_for_every_seed(tmp_path, monkeypatch):
    def model(digits, config):
        noise = keras.random.uniform((config["drawn"], 784)).numpy()
        return {"brightness": noise.mean()}, {"noise": noise, "nothing": np.zeros_like(noise)}

    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    monkeypatch.setitem(longer_samples.MODELS, "known", model)
    monkeypatch.setattr(longer_samples, "judge", lambda digits, config: lambda images: float(np.mean(images > 0.5)))
    config = {"drawn": 150, "seeds": [3, 4], "judge": {}}
    longer_samples.run("known", config, load_mnist("sample"))
    stored = json.loads((common.RESULTS / "longer_known.json").read_text(encoding="utf-8"))
    assert stored["configuration"] == config
    assert stored["seeds"]["3"]["brightness"] != stored["seeds"]["4"]["brightness"]
    for seed, found in stored["seeds"].items():
        keras.utils.set_random_seed(int(seed))
        noise = keras.random.uniform((150, 784)).numpy()
        assert found["brightness"] == pytest.approx(noise.mean(), rel=1e-3)
        assert found["digits"] == {"noise": pytest.approx(np.mean(noise > 0.5), rel=1e-3), "nothing": 0}
    keras.utils.set_random_seed(3)
    first = longer_samples.mosaic(keras.random.uniform((150, 784)).numpy()[:100])
    picture = keras.utils.load_img(common.RESULTS / "longer_known.png", color_mode="grayscale")
    np.testing.assert_allclose(np.array(picture), 255 * first[..., 0], atol=1)


def test_mosaic_has_image_12_in_the_second_row_and_the_third_column():
    images = np.random.default_rng(0).uniform(size=(100, 784))
    place = longer_samples.mosaic(images)[31:59, 61:89, 0]
    np.testing.assert_allclose(place, 1 - images[12].reshape(28, 28))


def function(tree, name):
    """Returns a function's syntax tree as text, without the places where it stands."""
    [found] = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    return ast.dump(found)


@pytest.mark.parametrize("lesson", ["08_variational_autoencoder", "09_adversarial_autoencoder"])
def test_judge_of_the_longer_samples_is_the_lessons(lesson):
    script = ast.parse((common.ROOT / "benchmarks" / "longer_samples.py").read_text(encoding="utf-8"))
    notebook = nbformat.read(common.ROOT / "notebooks" / f"{lesson}.ipynb", as_version=4)
    lesson = ast.parse("\n".join(lesson_time.source(cell) for cell in notebook.cells if cell.cell_type == "code"))
    assert function(script, "with_mixed") == function(lesson, "with_mixed")


def quoted(lesson, model):
    """Returns the lesson's paragraph about a longer run, and what is stored of the run's two seeds."""
    stored = json.loads((common.RESULTS / f"longer_{model}.json").read_text(encoding="utf-8"))
    notebook = nbformat.read(common.ROOT / "notebooks" / f"{lesson}_{model}_autoencoder.ipynb", as_version=4)
    [text] = [cell.source for cell in notebook.cells if f"longer_{model}.png" in cell.source]
    assert f"{stored['configuration']['updates']:,} steps, twice" in text
    return text, list(stored["seeds"].values())


def percent(values, digits=0):
    return " and ".join(f"{100 * value:.{digits}f}" for value in values) + " %"


def test_lesson_08_quotes_the_longer_run_as_it_is_stored():
    text, (first, second) = quoted("08", "variational")
    assert f"The bounds are {first['bound']:.1f} and {second['bound']:.1f} nats" in text
    for where in ("prior", "mixture"):
        assert percent(found["digits"][where] for found in (first, second)) in text


def test_lesson_09_quotes_the_longer_run_as_it_is_stored():
    text, seeds = quoted("09", "adversarial")
    assert f"cover {percent((found['covered'] for found in seeds), 1)} of the spiral" in text
    assert f"and {percent(found['on the spiral'] for found in seeds)} are on it" in text
    assert f"adversarial prior {percent(found['digits']['prior'] for found in seeds)} are digits" in text
    assert f"from the mixture {percent(found['digits']['mixture'] for found in seeds)}: about half" in text
    [(mixture, prior)] = re.findall(r"mixture fitted to plain codes passes in (\d+) %.* prior in (\d+) %", text)
    for found in seeds:
        lead = 100 * (found["digits"]["mixture"] - found["digits"]["prior"])
        assert 0.4 < lead / (int(mixture) - int(prior)) < 0.6


def test_longer_pretraining_goes_on_and_makes_each_run_once(tmp_path, monkeypatch):
    asked = []

    def error(digits, arm, steps, config):
        asked.append((arm, steps))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return keras.random.uniform(()) + steps

    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(longer_pretraining, "error", error)
    config = longer_pretraining.CONFIG | {"steps": [10, 20], "seeds": [3, 4]}
    with pytest.raises(KeyboardInterrupt):
        longer_pretraining.run(None, config)
    longer_pretraining.run(None, config)
    assert sorted(asked) == sorted(
        [(arm, steps) for arm in longer_pretraining.ARMS for steps in (10, 10, 20, 20)] + asked[3:4]
    )
    stored = json.loads((common.RESULTS / "longer_pretraining.json").read_text(encoding="utf-8"))
    keras.utils.set_random_seed(4)
    expected = pytest.approx(float(keras.random.uniform(()) + 20), rel=1e-3)
    assert all(errors["20"][1] == expected for errors in stored["errors"].values())


def test_arms_of_the_longer_pretraining_at_a_small_size(monkeypatch):
    """Half of the cost for the stages: so many steps of each of the four, and as many of the whole, or all of these."""
    small = {"widths": [100, 20], "images": 640, "learning_rate": 0.003}
    config, noted = longer_pretraining.CONFIG | small, []
    plain = models.Autoencoder.fit
    monkeypatch.setattr(
        models.Autoencoder, "fit", lambda model, *x, **options: noted.append(options) or plain(model, *x, **options)
    )
    digits = load_mnist("sample")
    mean = np.square(digits.x_test - digits.x_train.mean(axis=0)).sum(axis=1).mean()
    keras.utils.set_random_seed(0)
    errors = {arm: longer_pretraining.error(digits, arm, 160, config) for arm in longer_pretraining.ARMS}
    assert errors["ReLU, He"] < 0.8 * mean
    assert max(errors.values()) < 1.2 * mean
    whole = [options["epochs"] for options in noted if "steps_per_epoch" in options]
    stages = [options["epochs"] for options in noted if "steps_per_epoch" not in options]
    assert whole == [4, 2, 4, 2]
    assert stages == [8] * 4  # 80 steps of 64 images out of 640


def test_lesson_03_quotes_the_longer_run_as_it_is_stored():
    stored = json.loads((common.RESULTS / "longer_pretraining.json").read_text(encoding="utf-8"))
    notebook = nbformat.read(common.ROOT / "notebooks" / "03_stacked_autoencoder.ipynb", as_version=4)
    [text] = [cell.source for cell in notebook.cells if "longer_pretraining.py" in cell.source]
    short, long = stored["configuration"]["steps"]
    assert long == 4 * short
    for arm, words in {
        "sigmoid, small, pretrained": "pretrained they end at {} and {}",
        "sigmoid, gain one": "at gain one at {} and {}",
        "ReLU, He": "ReLUs end at {} and {}",
        "ReLU, He, pretrained": "pretrained ones at {} and {}",
    }.items():
        assert words.format(*(f"{error:.1f}" for error in stored["errors"][arm][str(long)])) in text


def test_pins_of_the_comparisons_fit_their_group():
    groups = tomllib.loads((common.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    lines = (common.ROOT / "requirements" / "bench.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in map(Requirement, groups["bench"]):
        assert requirement.specifier.contains(pins[requirement.name])


def test_shapes_of_the_photograph_denoiser_are_trained_as_in_the_lesson():
    script = ast.parse((common.ROOT / "benchmarks" / "photograph_shapes.py").read_text(encoding="utf-8"))
    notebook = nbformat.read(common.ROOT / "notebooks" / "13_image_restoration.ipynb", as_version=4)
    source = "\n".join(lesson_time.source(cell) for cell in notebook.cells if cell.cell_type == "code")
    lesson = ast.parse(source)
    for name in ("with_noise", "unchanged", "with_code_of_another"):
        assert function(script, name) == function(lesson, name)
    for task in ("denoising", "copying"):
        steps = photograph_shapes.CONFIG[task]["steps"]
        assert f"train(network, {'with_noise' if task == 'denoising' else 'unchanged'}, steps={steps})" in source


def test_shapes_of_the_photograph_denoiser_have_equal_sizes():
    sizes = [make().count_params() for make in photograph_shapes.SHAPES.values()]
    assert max(sizes) < 1.003 * min(sizes)


def test_noisy_photographs_have_the_noise_of_the_test():
    """A network that changes nothing leaves the PSNR of the noise, which grey photographs do not cut off."""
    inputs = keras.Input((None, None, 1))
    nothing = keras.Model(inputs, keras.layers.Identity()(inputs))
    photos = [np.full((60, 70, 3), 0.5), np.full((80, 50, 3), 0.4)]
    for stddev in photograph_shapes.CONFIG["noises of the test, times 255"]:
        found = photograph_shapes.denoised_psnr(nothing, photos, stddev, seed=0)
        assert found == pytest.approx(-20 * np.log10(stddev / 255), abs=0.1)


def test_code_of_another_is_the_other_images_code():
    """Without skips nothing but the code reaches the output, so that the copies change places."""
    x = np.random.default_rng(0).uniform(size=(3, 16, 16, 1)).astype("float32")
    network = photograph_shapes.SHAPES["no skips"]()
    changed = photograph_shapes.with_code_of_another(network, x)
    np.testing.assert_allclose(changed, np.roll(network(x), 1, axis=0), atol=1e-5)
    same = np.repeat(x[:1], 3, axis=0)
    network = photograph_shapes.SHAPES["U-Net"]()
    np.testing.assert_allclose(photograph_shapes.with_code_of_another(network, same), network(same), atol=1e-5)
    changed = photograph_shapes.with_code_of_another(network, x)
    assert np.abs(changed - network(x)).max() > 1e-3  # a code that is not trained does matter


def test_lesson_quotes_the_shapes_of_the_photograph_denoiser_as_they_are_stored():
    stored = json.loads((common.RESULTS / "photograph_shapes.json").read_text(encoding="utf-8"))
    notebook = nbformat.read(common.ROOT / "notebooks" / "13_image_restoration.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if "photograph_shapes.json" in cell.source)
    for stddev in photograph_shapes.CONFIG["noises of the test, times 255"]:
        for name, scores in stored["denoising"].items():
            values = scores[f"noise {stddev}"]
            assert f"| {name} | {stddev}/255 | {' '.join(f'{value:.1f}' for value in values)} |" in text
