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
