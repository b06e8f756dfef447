"""The benchmark behind lesson 12: its measures against independent ones, and that a stop loses only one record."""

import itertools
import json
import types

import nbformat
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aelib.data import load_mnist
from benchmarks import common, representations
from benchmarks.representations import CONFIG

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def known():
    return representations.only_known(load_mnist("sample"))[0]


def test_nines_are_left_out_of_all_parts_but_the_test_of_detection(known):
    for part, count in {"train": 3600, "val": 450, "test": 450}.items():
        labels = getattr(known, f"y_{part}")
        assert len(getattr(known, f"x_{part}")) == len(labels) == count
        assert labels.max() == 8
    assert np.sum(representations.only_known(load_mnist("sample"))[2] == 9) == 50


def test_labels_are_drawn_evenly_and_the_same_for_every_row(known):
    places = representations.draw_labels(known.y_train, 11, draw=1)
    assert np.bincount(known.y_train[places]).tolist() == [11] * 9
    assert len(np.unique(places)) == 99
    np.testing.assert_array_equal(places, representations.draw_labels(known.y_train, 11, draw=1))
    assert set(places) != set(representations.draw_labels(known.y_train, 11, draw=2))


def test_damage_masks_the_share_asked_for_and_adds_the_noise_asked_for():
    damaged = representations.damages(np.full((200, 784), 0.5, "float32"), CONFIG, seed=1)
    assert np.mean(damaged["masked"] == 0) == pytest.approx(0.3, abs=0.01)
    assert np.std(damaged["noisy"]) == pytest.approx(0.3, abs=0.01)


def test_linear_map_is_the_solution_of_the_normal_equations():
    damaged = rng.normal(size=(300, 5))
    clean = damaged @ rng.uniform(size=(5, 5)) + 0.5
    centred, offset = damaged - damaged.mean(axis=0), clean.mean(axis=0)
    weights = np.linalg.solve(centred.T @ centred + np.eye(5), centred.T @ (clean - offset))
    expected = np.clip((damaged - damaged.mean(axis=0)) @ weights + offset, 0, 1)
    np.testing.assert_allclose(representations.best_linear_map(clean, damaged)(damaged), expected, atol=1e-6)


def test_scales_come_from_the_training_codes_and_a_constant_number_does_no_harm():
    train = np.concatenate([rng.normal(2, [1, 5], (1000, 2)), np.ones((1000, 1))], axis=1)
    versions = representations.scaled({"train": train, "test": 10 * train})
    np.testing.assert_allclose(versions["train"]["each"].std(axis=0), [1, 1, 0], atol=1e-6)
    assert np.mean(versions["train"]["one"].var(axis=0)) == pytest.approx(1)
    assert versions["test"]["each"][:, 0].std() == pytest.approx(10)


def test_probe_chooses_by_its_labels_and_not_by_the_test():
    y = np.repeat([0, 1], 50)
    good, bad = y[:, None] + rng.normal(0, 0.1, (100, 1)), rng.normal(size=(100, 1))
    expected = np.mean(LogisticRegression().fit(good, y).predict(bad) != y)
    # In the test the two are exchanged: whoever chooses there takes the other one and makes no error.
    train, test = {"good": good, "bad": bad}, {"good": bad, "bad": good}
    found = representations.probe(representations.logistic, [1.0], train, y, test, y)
    assert found == pytest.approx(expected)
    assert found > 0.3


def test_vote_takes_the_most_frequent_label_and_in_a_tie_the_nearest():
    labels = np.array([[1, 2, 2, 3], [4, 5, 5, 4], [7, 8, 9, 9]])
    assert representations.vote(labels, 4).tolist() == [2, 4, 9]
    assert representations.vote(labels, 2).tolist() == [1, 4, 7]


def test_neighbours_and_precision_are_those_of_a_loop(known):
    codes = {"train": known.x_train[:600], "val": known.x_val, "test": known.x_test[:50]}
    part = types.SimpleNamespace(y_train=known.y_train[:600], y_val=known.y_val, y_test=known.y_test[:50])
    error, precision = representations.neighbors_of_many(codes, part, CONFIG | {"neighbors": [1]})
    nearest = [np.argsort(np.square(codes["train"] - x).sum(axis=1))[:10] for x in codes["test"]]
    labels = part.y_train[np.array(nearest)]
    assert error == pytest.approx(np.mean(labels[:, 0] != part.y_test))
    assert precision == pytest.approx(np.mean(labels == part.y_test[:, None]))


def test_clusters_are_matched_as_the_best_of_all_permutations_does():
    y = np.repeat(np.arange(4), 30)
    centers = np.array([[0, 0], [0, 3], [3, 0], [3, 3]])
    found = representations.cluster(centers[y] + rng.normal(0, 0.01, (120, 2)), y)
    assert found == {"accuracy": 1, "information": pytest.approx(1)}
    codes = centers[y] + rng.normal(0, 1.2, (120, 2))
    clusters = representations.KMeans(4, n_init=3, random_state=0).fit_predict(codes)
    best = max(np.mean(np.array(order)[clusters] == y) for order in itertools.permutations(range(4)))
    assert representations.cluster(codes, y)["accuracy"] == pytest.approx(best)
    assert best < 0.95


def test_detection_without_reconstruction_is_by_the_nearest_training_image():
    x, y = np.array([[0.0], [0.1], [5.0], [0.2]]), np.array([0, 1, 9, 2])
    assert representations.detect(types.SimpleNamespace(), np.zeros((1, 1)), x, y) == 1
    worse = types.SimpleNamespace(reconstruct=lambda images: images - (images < 1))
    assert representations.detect(worse, np.zeros((1, 1)), x, y) == 0


@pytest.mark.parametrize("name", ["PCA", "k-sparse", "variational"])
def test_record_of_a_row_at_a_small_size(name):
    small = {"updates": 100, "draws": 2, "drawn": 100, "mixture": {"components": 2, "codes": 500}}
    small["further"] = CONFIG["further"] | {"updates": 50, "updates, many": 50, "seeds": [1]}
    digits = load_mnist("sample")
    record = representations.measure(name, 1, digits, lambda images: {"digits": images.shape}, CONFIG | small)
    ways = ["mixture", "prior"] if name == "variational" else ["mixture"]
    assert record["sample"] == {way: {"digits": (100, 784)} for way in ways}
    assert 5 < record["rebuild"] < record["repair"]["masked"] < 60
    assert 0.2 < record["detect"] < 0.8
    for errors in record["labels"].values():
        assert all(0 < error < 0.8 for each in errors.values() for error in each)
    errors = record["labels"]["logistic"]
    assert {count: len(each) for count, each in errors.items()} == {1: 2, 11: 2, 111: 2, "many": 1}
    assert np.mean(errors[1]) > np.mean(errors[11]) > np.mean(errors[111]) >= errors["many"][0] - 0.02
    assert ("further" in record["labels"]) == (name == "k-sparse")
    assert 1 / 9 < record["cluster"]["one"]["accuracy"] < 1


def test_network_trained_further_on_few_labels_beats_chance_for_every_draw(known):
    config = CONFIG | {"draws": 2, "labels of a digit": [1, 11]}
    config["further"] = CONFIG["further"] | {"updates": 100, "rates": [1e-3]}
    representations.keras.utils.set_random_seed(1)
    row = representations.train("untrained", known.x_train, config)
    found = representations.train_further(row.encoder, row.encode(known.x_train), known, config)
    assert list(found) == [11, "many"]  # with one label of a digit there is no held-out one to choose the rate with
    assert len(found[11]) == 2
    assert 0.1 < min(found[11]) < max(found[11]) < 0.6


def test_a_stop_loses_one_record_and_what_is_stored_is_not_measured_again(tmp_path, monkeypatch):
    measured, stops_at = [], 3

    def measure(name, seed, digits, judge, config):
        if len(measured) == stops_at:
            raise KeyboardInterrupt
        measured.append((name, seed))
        return {"row": name, "seed": seed, "value": float(len(measured))}

    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(representations, "measure", measure)
    monkeypatch.setattr(representations, "new_judge", lambda digits, config: (None, {"digits": 0.9}))
    config = CONFIG | {"rows of the sample": ["pixels", "plain"], "seeds": [1, 2]}
    with pytest.raises(KeyboardInterrupt):
        representations.run("sample", config | {"seeds": [1, 2, 3]})
    assert measured == [("pixels", 1), ("plain", 1), ("plain", 2)]
    stops_at = 99
    representations.run("sample", config | {"seeds": [1, 2, 3]})
    assert measured[3:] == [("plain", 3)]
    stored = json.loads((common.RESULTS / "representations.json").read_text(encoding="utf-8"))
    assert [record["value"] for record in stored["sample"]["records"]] == [1, 2, 3, 4]
    assert stored["full"] == {"records": []}
    representations.run("sample", config)  # another configuration: nothing stored is of use
    assert measured[4:] == [("pixels", 1), ("plain", 1), ("plain", 2)]


def test_lesson_shows_and_quotes_the_runs_that_are_stored():
    stored = json.loads((common.RESULTS / "representations.json").read_text(encoding="utf-8"))
    notebook = nbformat.read(common.ROOT / "notebooks" / "12_representations_at_work.ipynb", as_version=4)
    outputs = ["".join(output.get("text", "") for output in cell.get("outputs", [])) for cell in notebook.cells]
    [table] = [text for text in outputs if text.startswith("task  ")]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert stored["configuration"] == common.rounded(CONFIG)

    def values(row, *keys):
        found = [record for record in stored["full"]["records"] if record["row"] == row]
        for key in keys:
            found = [each[key] for each in found]
        return np.array(found)

    for row in ("plain", "denoising", "k-sparse", "contractive", "convolutional", "variational", "adversarial"):
        rebuild, detect = values(row, "rebuild"), values(row, "detect")
        assert len(rebuild) == len(CONFIG["seeds"])
        [line] = [line for line in table.splitlines() if line.startswith(f"{row} ")]
        assert f" {rebuild.mean():.2f} ± {rebuild.std(ddof=1):.2f} " in line
        assert f" {detect.mean():.3f} ± {detect.std(ddof=1):.3f} " in line
    pixels, sparse, convolutional = (
        100 * values(row, "labels", "logistic", "11").mean() for row in ("pixels", "k-sparse", "convolutional")
    )
    assert f"ahead of pixels by {pixels - sparse:.1f} points" in prose
    assert f"the convolutional one by {pixels - convolutional:.1f}," in prose
