"""Checks of answers, for assignments and exercises: a wrong answer is told its symptom, not the right answer.

They take whatever NumPy makes an array of: lists, arrays, tensors of TensorFlow and of Keras.
"""

import inspect

import keras
import numpy as np
import tensorflow as tf

_RIGHT_SIZE = (
    (np.negative, "It has the opposite sign"),
    (np.square, "It looks squared"),
    (lambda right: np.sqrt(np.abs(right)), "It looks like the square root of what was asked for"),
    (lambda right: np.exp(np.clip(right, -80, 80)), "It looks as if an exponential were taken once too often"),
    (lambda right: np.log(np.abs(right) + (right == 0)), "It looks as if a logarithm were taken once too often"),
)
_FACTORS = {2: "twice what it should be", 0.5: "half of what it should be"}


def check(answer, expected, name="The answer", rtol=1e-4, atol=0.0, sizes=None, hints=None):
    """Passes if an answer is right, within `rtol * |expected| + atol`; otherwise names the symptom.

    The symptoms that are told: nothing returned, a wrong shape (with the axes that are missing or exchanged), values
    that are not finite, another order, a sign, a square or a root too many, a constant factor (and whether it is one
    of `sizes`: a mean in place of a sum), a constant that is added, and how many of the values are right.

    Args:
        answer: What is to be judged: a number, an array or a tensor.
        expected: The right answer.
        name: What the answer is called in the message, such as "The penalty".
        rtol: Allowed error relative to the expected value.
        atol: Allowed absolute error, for values that may be near zero.
        sizes: Numbers that could explain a factor, by what they count: `{"images": 7, "pixels": 12}`.
        hints: Known mistakes: what is said of each, and the value that it would give.

    Returns:
        None.

    Raises:
        AssertionError: If the answer is wrong. Its message names the symptom.

    Example:

    >>> check([1.0, 2.0], np.array([1.0, 2.0]))
    >>> check([0.5, 1.0], np.array([2.0, 4.0]), "The error", sizes={"pixels": 4})
    Traceback (most recent call last):
    AssertionError: The error is 1/4 of what it should be, and 4 is the number of pixels: a mean in place of a sum?
    """
    expected = np.asarray(expected)
    answer = _as_array(answer, name)
    if answer.shape != expected.shape:
        raise AssertionError(f"{name} has {_shape(answer)}; expected is {_shape(expected)}.{_axes(answer, expected)}")
    if not np.isfinite(answer).all():
        wrong = (
            "is not finite"
            if answer.ndim == 0
            else f"is not finite in {np.sum(~np.isfinite(answer))} of {answer.size} places"
        )
        raise AssertionError(
            f"{name} {wrong} (nan or inf). Is there a division by 0, the logarithm of 0, or the exponential of a large "
            "number?"
        )

    def close(value):
        value = np.asarray(value)
        return value.shape == answer.shape and np.allclose(answer, value, rtol=rtol, atol=atol)

    if close(expected):
        return
    for hint, value in (hints or {}).items():
        if close(value):
            raise AssertionError(f"{name} is wrong. {hint}")
    raise AssertionError(_symptom(answer, expected, name, rtol, atol, sizes or {}, close))


def check_mean(draws, expected, name="The answer", standard_errors=6.0, sizes=None):
    """Passes if the mean of random draws agrees with what is expected, within a multiple of its own standard error.

    For each number separately, `|mean - expected| <= standard_errors * s / sqrt(n)`, where `s` is the standard
    deviation of the `n` draws. A right answer fails at 6 standard errors about once in five hundred million times.

    Args:
        draws: Independent draws, shape `(n, ...)`.
        expected: What they should be on average, shape `(...)`.
        name: What the draws are called in the message.
        standard_errors: The allowed distance, in standard errors.
        sizes: As for `check`.

    Returns:
        None.

    Raises:
        AssertionError: If the mean is too far away. Its message names the symptom.

    Example:

    >>> check_mean(np.random.default_rng(0).normal(3.0, size=1000), 3.0)
    >>> check_mean(np.random.default_rng(0).normal(6.0, size=1000), 3.0, "The noise")
    Traceback (most recent call last):
    AssertionError: The noise, averaged over 1,000 draws, is about twice what it should be.
    """
    expected = np.asarray(expected, dtype="float64")
    draws = _as_array(draws, name).astype("float64")
    if draws.ndim == 0 or draws.shape[1:] != expected.shape:
        raise AssertionError(f"{name} has {_shape(draws)}; expected are draws of {_shape(expected)} each.")
    if not np.isfinite(draws).all():
        raise AssertionError(f"{name} has values that are not finite (nan or inf).")
    mean = draws.mean(axis=0)
    allowed = standard_errors * draws.std(axis=0) / np.sqrt(len(draws)) + 1e-6 * np.abs(expected) + 1e-12
    if np.all(np.abs(mean - expected) <= allowed):
        return
    name = f"{name.rstrip(',')}, averaged over {len(draws):,} draws,"
    ratio = np.sum(mean * expected) / np.sum(expected**2) if np.any(expected) else np.nan
    factors = {**_FACTORS, -1.0: "of the opposite sign"}
    factors |= {power: text for count, n in (sizes or {}).items() for power, text in _size_factors(count, n).items()}
    for factor, text in factors.items():
        if factor != 1 and np.all(np.abs(mean - factor * expected) <= allowed + 0.02 * np.abs(factor * expected)):
            raise AssertionError(f"{name} is about {text}" + ("" if text.endswith("?") else "."))
    if mean.ndim:
        wrong = np.mean(np.abs(mean - expected) > allowed)
        raise AssertionError(f"{name} is off in {wrong:.0%} of the numbers, by more than chance allows.")
    direction = "large" if mean > expected else "small"
    by_how_much = f" (about {ratio:.2g} times)" if np.isfinite(ratio) and ratio > 0 else ""
    raise AssertionError(f"{name} is too {direction}{by_how_much}, by more than chance allows.")


def value_and_gradients(function, arguments, sources, name="The answer"):
    """Calls a learner's function; returns what it returns, and the gradients, if TensorFlow sees how it was computed.

    With `y = function(*arguments)`, the gradient with respect to a source `s` is `d sum(y) / d s`: that of the sum of
    all numbers that are returned.

    Args:
        function: What the learner wrote. It returns a number, an array or a tensor of any shape.
        arguments: What it is called with, as a tuple.
        sources: What to differentiate with respect to, by its name in the message: tensors and trainable variables,
            which are among the arguments or which the function uses otherwise, as the weights of a model.
        name: What is returned is called so in the message.

    Returns:
        What the function returned, and the list of the gradients, each of the shape of its source.

    Raises:
        AssertionError: If nothing is returned, or no numbers; or if a source has no gradient. The message names it.
        ValueError: If a source is neither a tensor nor a variable, so that nothing could have a gradient there.

    Example:

    >>> x = tf.constant([1.0, 2.0])
    >>> value, [gradient] = value_and_gradients(lambda x: x**2, (x,), {"x": x})
    >>> gradient.numpy()
    array([2., 4.], dtype=float32)
    >>> value_and_gradients(np.square, (x,), {"x": x})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: No gradient reaches x. The answer must be computed from it by steps that TensorFlow sees: ...
    """
    with tf.GradientTape() as tape:
        # A variable of Keras cannot be watched by hand; what can be trained is watched anyway.
        tape.watch([source for source in sources.values() if not isinstance(source, keras.Variable)])
        value = function(*arguments)
        _as_array(value, name)
        total = tf.reduce_sum(value)
    gradients = tape.gradient(total, list(sources.values()))
    for source, gradient in zip(sources, gradients, strict=True):
        if gradient is None:
            raise AssertionError(
                f"No gradient reaches {source}. {name} must be computed from it by steps that TensorFlow sees: a step "
                "in NumPy has no gradient."
            )
    return value, gradients


def judge(test, answer):
    """Says whether a learner's answer is right, without stopping the notebook.

    It prints one line: that there is no answer yet (`...` or None), that it is right, or the symptom of what is wrong.

    Args:
        test: A function of the answer that raises an `AssertionError` with a message if it is wrong; it may use `check`
            and `check_mean`.
        answer: The learner's answer: a value, or a function, whose body is `...` as long as nothing is written; or a
            tuple of such, of which none may be missing.

    Returns:
        True if the answer is right, False if it is wrong, None if there is none yet.

    Example:

    >>> judge(lambda answer: check(answer, 4.0), ...)
    Not answered yet.
    >>> judge(lambda answer: check(answer, 4.0), 4.0)
    Right.
    True
    """
    parts = answer if isinstance(answer, tuple) else (answer,)
    if any(part is None or part is ... or _is_empty(part) for part in parts):
        print("Not answered yet.")
        return None
    try:
        test(answer)
    except Exception as error:  # whatever a learner's function raises is part of the verdict
        kind = "" if isinstance(error, AssertionError) else f"It stops with {type(error).__name__}. "
        print(f"Not yet. {kind}{error}")
        return False
    print("Right.")
    return True


def _is_empty(answer):
    """A function without any instruction of its own: compiled, it has the code of a body of `...`."""
    if not inspect.isfunction(answer):
        return False
    constants = set(answer.__code__.co_consts) - {None, answer.__doc__}
    return (
        not answer.__code__.co_names
        and not constants
        and len(answer.__code__.co_code) <= len(_nothing.__code__.co_code)
    )


def _nothing(): ...


def _as_array(answer, name):
    if answer is None:
        raise AssertionError(f"{name} is None. Is `return` missing?")
    if answer is ...:
        raise AssertionError(f"{name} is still `...`.")
    try:
        array = np.asarray(answer)
    except Exception as error:  # tensors refuse in their own ways
        raise AssertionError(f"{name} cannot be made an array ({type(error).__name__}: {error}).") from None
    if array.dtype == object or array.dtype.kind not in "biufc":
        raise AssertionError(f"{name} is no array of numbers, but a {type(answer).__name__}.")
    return array


def _shape(array):
    return "the shape of a single number, ()" if array.ndim == 0 else f"the shape {array.shape}"


def _axes(answer, expected):
    if answer.shape == expected.shape[::-1]:
        return " The axes are exchanged: is a transpose missing, or one too many?"
    if answer.ndim == 0:
        return " Too many axes were summed or averaged over."
    if answer.size == expected.size:
        return " It has the right number of values: an axis of length 1 too many, or too few?"
    if answer.ndim > expected.ndim:
        return " An axis is left that should have been summed over."
    if answer.ndim == expected.ndim == 1:
        return " Was the wrong axis summed over?"
    return ""


def _size_factors(count, n):
    return {
        1 / n: f"1/{n} of what it should be, and {n} is the number of {count}: a mean in place of a sum?",
        float(n): f"{n} times what it should be, and {n} is the number of {count}: a sum in place of a mean?",
    }


def _symptom(answer, expected, name, rtol, atol, sizes, close):
    """Returns the message for an answer of the right shape with finite, wrong values."""
    named = {
        **_FACTORS,
        **{factor: text for count, n in sizes.items() for factor, text in _size_factors(count, n).items()},
    }
    for factor, text in named.items():
        if factor != 1 and close(factor * expected):
            return f"{name} is {text}" + ("" if text.endswith("?") else ".")
    if not np.any(answer):
        return f"{name} is zero everywhere." if answer.ndim else f"{name} is zero."
    if expected.ndim and np.ptp(answer) == 0 and np.ptp(expected):
        return f"{name} has the same value everywhere."
    for wrong, text in _RIGHT_SIZE:
        if close(wrong(expected)):
            return f"{name} is wrong. {text}."
    if answer.ndim == 0:
        if np.sign(answer) != np.sign(expected):
            return f"{name} has the wrong sign."
        return f"{name} is too {'large' if np.abs(answer) > np.abs(expected) else 'small'}."
    if np.allclose(np.sort(answer, axis=None), np.sort(expected, axis=None), rtol=rtol, atol=atol):
        return f"{name} has the right values in another order."
    if expected.size > 2:
        offset = np.mean(answer - expected)
        if np.allclose(answer - expected, offset, rtol=1e-3, atol=atol):
            return (
                f"{name} is off by the same amount everywhere: something that is the same for all is added or missing."
            )
        factor = np.sum(answer * expected) / max(np.sum(expected * expected), np.finfo("float64").tiny)
        if close(factor * expected):
            return f"{name} is {factor:.4g} times what it should be, everywhere."
    right = np.isclose(answer, expected, rtol=rtol, atol=atol)
    if right.any():
        return f"{name} is right in {right.sum()} of {right.size} values; the others differ."
    direction = {True: " All are too large.", False: " All are too small."}
    sides = np.unique(np.asarray(answer, "float64") > np.asarray(expected, "float64"))
    return f"{name} differs from what is expected in every value.{direction[bool(sides[0])] if len(sides) == 1 else ''}"
