"""Measurements on arrays: NumPy in, NumPy out."""

import numpy as np


def squared_error_per_image(x, reconstruction):
    """Squared error of each reconstruction, summed over its pixels.

    `error_n = sum_j (x_nj - r_nj)^2`, in squared units of the data, computed in float64. Its mean over MNIST's test
    images is the number that papers print: 13.87 for PCA with 30 components.

    Args:
        x: Images, shape `(n, ...)`.
        reconstruction: Their reconstructions, of the same shape.

    Returns:
        An array of shape `(n,)`.

    Raises:
        ValueError: If the shapes differ or there is no image.

    Example:

    >>> squared_error_per_image([[0.0, 1.0], [1.0, 1.0]], [[0.0, 0.5], [0.0, 0.0]]).tolist()
    [0.25, 2.0]

    Reference:
        G. E. Hinton and R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks",
        Science 313, 2006, figure 2.
    """
    x, reconstruction = np.asarray(x, dtype="float64"), np.asarray(reconstruction, dtype="float64")
    if x.shape != reconstruction.shape or x.ndim < 2 or len(x) == 0:
        raise ValueError(
            f"The images have shape {x.shape} and the reconstructions {reconstruction.shape}; they must be equal, "
            "(n, ...) with at least one image."
        )
    return np.square(x - reconstruction).reshape(len(x), -1).sum(axis=1)


def principal_angles(first, second):
    """Principal angles between the subspaces that the columns of two matrices span, in degrees, largest first.

    With orthonormal bases `Q1` and `Q2` of the two spans, `cos(angle_i)` is the i-th singular value of `Q1^T Q2`. All
    angles are 0 when one span lies in the other, whatever the bases; 90 degrees is orthogonal.

    Args:
        first: Matrix with a basis vector a column, shape `(features, k1)`.
        second: Matrix with a basis vector a column, shape `(features, k2)`.

    Returns:
        An array of shape `(min(k1, k2),)`.

    Raises:
        ValueError: If one is not a matrix with linearly independent columns, or the numbers of rows differ.

    Example:

    >>> plane, line = np.eye(3)[:, :2], np.array([[1.0], [0.0], [1.0]])
    >>> principal_angles(plane, line).round(6).tolist()
    [45.0]

    Reference:
        A. Bjorck and G. H. Golub, "Numerical methods for computing angles between linear subspaces",
        Mathematics of Computation 27, 1973, theorem 1; computed by `scipy.linalg.subspace_angles`.
    """
    from scipy.linalg import subspace_angles

    first, second = np.asarray(first, dtype="float64"), np.asarray(second, dtype="float64")
    for matrix in (first, second):
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise ValueError(
                f"Give a finite matrix with a basis vector a column, not an array of shape {matrix.shape}."
            )
        rank = np.linalg.matrix_rank(matrix)
        if rank < matrix.shape[1] or rank == 0:
            raise ValueError(
                f"A matrix of shape {matrix.shape} has rank {rank}: its columns must be linearly independent. "
                "Features lie along the rows; transpose it if they lie along the columns."
            )
    if len(first) != len(second):
        raise ValueError(f"The matrices have {len(first)} and {len(second)} rows; both must have one a feature.")
    return np.degrees(subspace_angles(first, second))


def linear_probe_error(train_codes, train_labels, test_codes, test_labels, l2=1.0):
    """Share of test examples that a linear classifier on the codes gets wrong.

    Logistic regression by scikit-learn on standardized codes: each feature has mean 0 and standard deviation 1 over the
    training codes, and the weights `W` minimize `sum_n -log p(label_n | code_n) + l2 / 2 ||W||^2`. The result is the
    same in every run. Time grows with examples times features: about a second for 4,000 codes of 1,000 numbers, so give
    a subset of a larger set.

    Args:
        train_codes: Codes to fit the classifier on, shape `(n, features)`.
        train_labels: Their labels, shape `(n,)`, of two classes or more.
        test_codes: Codes to classify, shape `(m, features)`.
        test_labels: Their labels, shape `(m,)`.
        l2: Weight of the penalty, above 0. With few examples for the number of features it matters: choose it with
            validation codes.

    Returns:
        The error rate, a number from 0 to 1.

    Raises:
        ValueError: If the codes are not finite matrices of equal width, labels do not match them, an array is empty,
            the training labels have a single class, or `l2` is not above 0.

    Example:

    >>> codes = np.array([[0.0, 5.0], [0.1, 5.0], [0.9, 5.0], [1.0, 5.0]])
    >>> linear_probe_error(codes, [0, 0, 1, 1], codes, [0, 0, 1, 0])
    0.25

    Reference:
        A. Makhzani and B. Frey, "k-sparse autoencoders", ICLR 2014, arXiv:1312.5663, table 1: logistic regression on
        the codes of an autoencoder that is not trained further.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parts = {"training": (train_codes, train_labels), "test": (test_codes, test_labels)}
    for name, (codes, labels) in parts.items():
        if np.ndim(codes) != 2 or np.shape(labels) != np.shape(codes)[:1] or np.shape(codes)[0] == 0:
            raise ValueError(
                f"The {name} codes have shape {np.shape(codes)} and their labels {np.shape(labels)}; they must be "
                "(n, features) and (n,), with n at least 1."
            )
    if not 0 < l2 < np.inf:
        raise ValueError(f"l2 is the weight of a penalty, a number above 0, but it is {l2}.")
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1 / l2, max_iter=1000))
    classifier.fit(train_codes, train_labels)
    return float(np.mean(classifier.predict(test_codes) != np.asarray(test_labels)))
