"""A right answer passes whatever it is made of, and a wrong one is told its own symptom."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from aelib import answers

EXPECTED = np.array([[1.5, -2.0, 3.0], [4.0, 0.5, -6.0]])


@pytest.mark.parametrize(
    "answer",
    [
        EXPECTED,
        EXPECTED.tolist(),
        tf.constant(EXPECTED),
        keras.ops.convert_to_tensor(EXPECTED, "float32"),
        tf.Variable(EXPECTED),
    ],
    ids=["array", "lists", "tensor", "Keras tensor", "variable"],
)
def test_right_answer_of_any_kind_passes(answer):
    answers.check(answer, expected=EXPECTED)


@pytest.mark.parametrize(
    "answer, message",
    [
        (None, "is None. Is `return` missing"),
        (..., "is still"),
        ("text", "no array of numbers"),
        ([[1], [1, 2]], "cannot be made an array"),
        (EXPECTED.T, "axes are exchanged"),
        (EXPECTED.sum(), "Too many axes were summed"),
        (EXPECTED[None], "an axis of length 1"),
        (np.log(EXPECTED - 0.5), "not finite in 3 of 6 places"),
        (-EXPECTED, "opposite sign"),
        (EXPECTED**2, "looks squared"),
        (np.exp(EXPECTED), "an exponential were taken once too often"),
        (2 * EXPECTED, "twice what it should be"),
        (EXPECTED / 3, "1/3 of what it should be, and 3 is the number of pixels: a mean in place of a sum?"),
        (7 * EXPECTED, "7 times what it should be, and 7 is the number of images: a sum in place of a mean?"),
        (1.25 * EXPECTED, "1.25 times what it should be, everywhere"),
        (EXPECTED + 0.25, "off by the same amount everywhere"),
        (EXPECTED[::-1], "right values in another order"),
        (0 * EXPECTED, "zero everywhere"),
        (0 * EXPECTED + 1, "the same value everywhere"),
        (EXPECTED + np.array([[0, 0, 1], [0, 0, 0]]), "right in 5 of 6 values"),
        (EXPECTED + np.array([[1, 2, 3], [4, 5, 6]]), "All are too large"),
    ],
)
def test_wrong_answer_is_told_its_symptom(answer, message):
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError) as raised:
        answers.check(answer, EXPECTED, name="The penalty", sizes={"pixels": 3, "images": 7})
    assert str(raised.value).startswith("The penalty") and message in str(raised.value)


@pytest.mark.parametrize("answer, message", [(9.0, "too large"), (1.0, "too small"), (-4.0, "opposite sign")])
def test_message_of_a_number_does_not_give_the_answer_away(answer, message):
    with pytest.raises(AssertionError, match=message) as raised:
        answers.check(answer, 4.0)
    assert "4" not in str(raised.value)


def test_tolerances_and_hints_are_used():
    answers.check(1.09, 1.0, rtol=0.1)
    answers.check(0.09, 0.0, rtol=0, atol=0.1)
    with pytest.raises(AssertionError):
        answers.check(1.09, 1.0)
    with pytest.raises(AssertionError, match=r"The answer is wrong\. It is the other one"):
        answers.check(5.0, 1.0, hints={"It is another one.": 4.0, "It is the other one.": 5.0})


def test_mean_of_draws_is_held_to_its_own_standard_error():
    draws = np.random.default_rng(0).normal([1, 2], [0.1, 3], size=(10_000, 2))
    answers.check_mean(draws, expected=[1, 2])
    answers.check_mean(draws, [1, 2.1], standard_errors=10)
    with pytest.raises(AssertionError, match="off in 50% of the numbers"):
        answers.check_mean(draws, [1.1, 2])
    # a right mean is refused as rarely as the standard errors say
    refused = 0
    for seed in range(1000):
        try:
            answers.check_mean(np.random.default_rng(seed).normal(size=100), 0.0, standard_errors=2.0)
        except AssertionError:
            refused += 1
    assert 20 < refused < 90  # 2 standard errors: about 46 of 1,000


@pytest.mark.parametrize(
    "draws, message",
    [
        (lambda rng: rng.normal(8, 0.1, size=1000), "about twice"),
        (lambda rng: rng.normal(-4, 0.1, size=1000), "opposite sign"),
        (lambda rng: rng.normal(20, 0.1, size=1000), "5 is the number of units: a sum in place of a mean"),
        (lambda rng: rng.normal(5, 0.1, size=1000), r"too large \(about 1.2 times\)"),
        (lambda rng: np.full(1000, 3.0), "too small"),
        (lambda rng: np.full(1000, np.nan), "not finite"),
        (lambda rng: rng.normal(size=(1000, 2)), "shape"),
        (lambda rng: 4.0, "shape"),
    ],
)
def test_wrong_mean_is_told_its_symptom(draws, message):
    with pytest.raises(AssertionError, match=message):
        answers.check_mean(draws(np.random.default_rng(0)), 4.0, name="The noise", sizes={"units": 5})


def test_value_comes_with_the_gradient_of_its_sum():
    x, w = tf.constant([[1.0, 2.0], [3.0, -4.0]]), tf.Variable([[0.5], [2.0]])
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((2, 2))
    layer.set_weights([w.numpy()])
    values = {"tensors": lambda x: (x @ w) ** 2, "a layer": lambda x: keras.ops.square(layer(x))}
    values["a list"] = lambda x: [tf.square(tf.reduce_sum(row * w[:, 0])) for row in x]
    for what, function in values.items():
        weights = layer.kernel if what == "a layer" else w
        value, gradients = answers.value_and_gradients(function, arguments=(x,), sources={"x": x, "w": weights})
        np.testing.assert_allclose(np.ravel(value), [4.5**2, 6.5**2], err_msg=what)
        # the derivative of (x w)^2 is 2 (x w) w with respect to x, and 2 (x w) x, summed over the rows, to w
        np.testing.assert_allclose(gradients[0], [[4.5, 18], [-6.5, -26]], err_msg=what)
        np.testing.assert_allclose(gradients[1], [[9 - 39], [18 + 52]], err_msg=what)


@pytest.mark.parametrize(
    "function, message",
    [
        (np.square, "No gradient reaches x. The penalty must be"),
        (lambda x: float(x[0] ** 2), "No gradient reaches x"),
        (lambda x: tf.stop_gradient(x) ** 2, "No gradient reaches x"),
        (lambda x: None, "The penalty is None. Is `return` missing"),
        (lambda x: ..., "The penalty is still"),
        (lambda x: "text", "The penalty is no array of numbers"),
    ],
)
def test_answer_without_a_gradient_is_told_so(function, message):
    x = tf.constant([1.0, 2.0])
    with pytest.raises(AssertionError, match=message):
        answers.value_and_gradients(function, (x,), {"x": x}, name="The penalty")


def test_missing_gradient_is_named_among_others():
    x, w = tf.constant([1.0]), tf.Variable([2.0])
    with pytest.raises(AssertionError, match="No gradient reaches the second"):
        answers.value_and_gradients(lambda x: 2 * x, (x,), {"the first": x, "the second": w})


def test_source_that_cannot_have_a_gradient_is_refused():
    with pytest.raises(ValueError, match=r"not tf\.Tensor or tf\.Variable"):
        answers.value_and_gradients(tf.square, (tf.constant(1.0),), {"x": np.float32(1)})


def test_judge_tells_no_answer_a_right_one_and_a_wrong_one_apart(capsys):
    def square(x): ...

    def documented(x):
        """Returns the square."""
        ...

    def test(answer):
        answers.check(answer(3.0), 9.0)

    assert [answers.judge(test, answer) for answer in (None, ..., square, documented, (..., 3))] == [None] * 5
    assert answers.judge(test, lambda x: x * x) is True
    assert answers.judge(test, lambda x: 2 * x) is False
    assert answers.judge(test, lambda x: x.missing) is False
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == ["Not answered yet."] * 5 + ["Right."]
    assert lines[6] == "Not yet. The answer is too small."
    assert "It stops with AttributeError" in lines[7]
