"""Measurements on arrays: NumPy in, NumPy out."""

import numbers

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
    x, reconstruction = np.asarray(x), np.asarray(reconstruction)
    if x.shape != reconstruction.shape or x.ndim < 2 or len(x) == 0:
        raise ValueError(
            f"The images have shape {x.shape} and the reconstructions {reconstruction.shape}; they must be equal, "
            "(n, ...) with at least one image."
        )
    difference = np.subtract(x, reconstruction, dtype="float64").reshape(len(x), -1)
    return np.einsum("ij,ij->i", difference, difference)


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
    from threadpoolctl import threadpool_limits

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
    # The solver goes back and forth between NumPy's BLAS and SciPy's, whose waiting threads seem to hold each other up:
    # on two cores one thread each is the faster, 1.7 times for 20,000 images of 784 pixels and 6 times for 500.
    with threadpool_limits(1, user_api="blas"):
        classifier.fit(train_codes, train_labels)
        return float(np.mean(classifier.predict(test_codes) != np.asarray(test_labels)))


def mmd(first, second, bandwidth=None):
    """Unbiased estimate of the squared maximum mean discrepancy between two samples.

    `MMD^2 = E k(a, a') + E k(b, b') - 2 E k(a, b)` with the Gaussian kernel `k(a, b) = exp(-||a - b||^2 / (2 h^2))`
    and `h` the bandwidth; the means are taken over pairs of *different* points. It is 0 for equal distributions and
    at most 2. The estimate scatters around the true value, so that it falls below 0 about as often as not where the
    distributions are equal: compare it with its values for pairs of samples from one distribution. Time and memory
    grow with the square of the sample: about 0.1 seconds for 2,000 points each.

    Args:
        first: Sample, shape `(n, features)`, with `n` at least 2.
        second: Sample, shape `(m, features)`, with `m` at least 2.
        bandwidth: `h`, in units of the data: differences that are much smaller or much larger than it count little.
            The median distance between points of both samples together unless given. To compare several samples with
            one distribution, give one bandwidth for all.

    Returns:
        The estimate, a number.

    Raises:
        ValueError: If the samples are not finite matrices of equal width with two rows or more, or the bandwidth is
            not above 0.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> near, far = rng.normal(size=(300, 2)), rng.normal(3.0, 1.0, size=(300, 2))
    >>> round(mmd(near, rng.normal(size=(300, 2))), 1), round(mmd(near, far), 1)
    (0.0, 0.9)

    Reference:
        A. Gretton, K. M. Borgwardt, M. J. Rasch, B. Schoelkopf and A. Smola, "A kernel two-sample test", JMLR 13,
        2012, lemma 6.
    """
    from scipy.spatial.distance import cdist, pdist

    first, second = np.asarray(first, dtype="float64"), np.asarray(second, dtype="float64")
    for sample in (first, second):
        if sample.ndim != 2 or len(sample) < 2 or sample.shape[1] != first.shape[-1] or not np.isfinite(sample).all():
            raise ValueError(
                f"The samples have shapes {first.shape} and {second.shape}; give two finite matrices of equal width, "
                "a point a row, with two rows or more."
            )
    within_first, within_second = pdist(first, "sqeuclidean"), pdist(second, "sqeuclidean")
    between = cdist(first, second, "sqeuclidean").ravel()
    if bandwidth is None:
        bandwidth = np.sqrt(np.median(np.concatenate([within_first, within_second, between])))
    if not 0 < bandwidth < np.inf:
        raise ValueError(f"The bandwidth is a distance, a number above 0, but it is {bandwidth}.")
    means = [np.exp(-squares / (2 * bandwidth**2)).mean() for squares in (within_first, within_second, between)]
    return float(means[0] + means[1] - 2 * means[2])


def importance_weighted_nll(x, z_mean, z_log_var, log_likelihood, num_samples, batch_size=1000, seed=0):
    """Negative log-likelihood of each example under a variational autoencoder, by importance sampling, in nats.

    `nll_n = -log 1/K sum_k p(x_n | z_nk) p(z_nk) / q(z_nk | x_n)` with `K = num_samples` draws `z_nk` from
    `q(z | x_n) = N(z_mean_n, diag(exp(z_log_var_n)))` and the prior `p(z) = N(0, I)`. The sum is taken in float64, as a
    log-sum-exp.

    Its expectation is an upper bound of `-log p(x_n)` that falls to it as K grows; with `K = 1` it is the negative
    evidence lower bound. State K beside the number. Published values for MNIST use K = 5000 and binarized images.

    Args:
        x: Examples, shape `(n, ...)`.
        z_mean: Means of their codes, shape `(n, latent_dim)`.
        z_log_var: Logarithms of the variances, of the same shape.
        log_likelihood: A function that takes examples and a code of each, shapes `(batch, ...)` and
            `(batch, latent_dim)`, and returns `log p(x | z)`, shape `(batch,)`. It is called `num_samples` times for
            each batch.
        num_samples: Number of draws an example, K.
        batch_size: Number of examples decoded in one call. The draws do not depend on it.
        seed: Seed of the draws.

    Returns:
        An array of shape `(n,)`, float64.

    Raises:
        ValueError: If the shapes do not match, there is no example, a number is not a positive whole one, or the
            function does not return one value an example.

    Example:

    With `z ~ N(0, 1)` and `x | z ~ N(z, 1)`, x has variance 2, and the exact q is `N(x / 2, 1 / 2)`:

    >>> x = np.array([[0.0], [1.0]])
    >>> log_likelihood = lambda x, z: -0.5 * (np.square(x - z).sum(axis=1) + np.log(2 * np.pi))
    >>> nll = importance_weighted_nll(x, x / 2, np.full((2, 1), np.log(0.5)), log_likelihood, num_samples=5)
    >>> np.allclose(nll, 0.5 * (x[:, 0] ** 2 / 2 + np.log(4 * np.pi)))
    True

    Reference:
        Y. Burda, R. Grosse and R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, arXiv:1509.00519,
        section 3.
    """
    z_mean, z_log_var = np.asarray(z_mean, dtype="float64"), np.asarray(z_log_var, dtype="float64")
    if z_mean.ndim != 2 or z_mean.shape != z_log_var.shape or len(x) != len(z_mean) or len(x) == 0:
        raise ValueError(
            f"There are {len(x)} examples, z_mean has shape {z_mean.shape} and z_log_var {z_log_var.shape}; both must "
            "be (n, latent_dim), with n the number of examples, at least 1."
        )
    for name, value in (("num_samples", num_samples), ("batch_size", batch_size)):
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} must be a positive whole number, but it is {value!r}.")
    rng = np.random.default_rng(seed)
    log_sums = np.full(len(x), -np.inf)
    for _ in range(num_samples):
        all_noise = rng.standard_normal(z_mean.shape)  # at once, so that the draws do not depend on batch_size
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            noise = all_noise[rows]
            z = z_mean[rows] + np.exp(z_log_var[rows] / 2) * noise
            # log p(z) - log q(z | x): the constants of the two Gaussians cancel.
            log_ratio = 0.5 * np.sum(np.square(noise) + z_log_var[rows] - np.square(z), axis=1)
            log_likelihoods = np.asarray(log_likelihood(x[rows], z), dtype="float64")
            if log_likelihoods.shape != log_ratio.shape:
                raise ValueError(
                    f"log_likelihood must return one value an example, shape {log_ratio.shape}, but it returned "
                    f'shape {log_likelihoods.shape}. A Keras loss does so with reduction="none".'
                )
            log_sums[rows] = np.logaddexp(log_sums[rows], log_likelihoods + log_ratio)
    return np.log(num_samples) - log_sums


def active_units(z_mean, threshold=0.01):
    """Number of a variational code's units that tell inputs apart.

    `sum_j [Var_n(z_mean_nj) > threshold]`: a unit whose mean is the same for every input carries nothing about it, and
    the KL term has switched it off.

    Args:
        z_mean: Means of the codes of many inputs, shape `(n, latent_dim)`.
        threshold: Variance above which a unit counts as active.

    Returns:
        A whole number from 0 to `latent_dim`.

    Raises:
        ValueError: If the means are not a finite matrix with at least two rows.

    Example:

    >>> active_units([[1.0, 0.01, 3.0], [-1.0, 0.02, 3.0]])
    1

    Reference:
        Y. Burda, R. Grosse and R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, arXiv:1509.00519,
        section 5, with the threshold 0.01.
    """
    z_mean = np.asarray(z_mean, dtype="float64")
    if z_mean.ndim != 2 or len(z_mean) < 2 or not np.isfinite(z_mean).all():
        raise ValueError(f"Give the finite means of at least two inputs, (n, latent_dim), not shape {z_mean.shape}.")
    return int(np.sum(z_mean.var(axis=0) > threshold))
