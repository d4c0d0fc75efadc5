"""The works in scikit-learn.

`mse` is SGDRegressor: one row a step is all it can do, and it knows neither losses of batches nor gradient norms, so it
does less. `csv` is LogisticRegression by L-BFGS, which needs no learning rate and stops when it has converged. Its
variants are the layout of the matrix and the tolerance: 1e-4 is the default.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression, SGDRegressor

from common import Clock, answer, arguments, load, log_loss, mse, read_csv, warm_up


def train_mse(x, y, settings):
    # Steps are of one row, so the rate is smaller than the others'.
    model = SGDRegressor(
        loss="squared_error", penalty=None, learning_rate="constant", eta0=settings["lr"] / 20,
        max_iter=settings["epochs"], tol=None, random_state=0,
    )  # fmt: skip
    return model.fit(x, y)


def from_csv(options):
    order, tolerance = options.variant.split(",")
    x, y = read_csv(options, order)
    model = LogisticRegression(C=np.inf, solver="lbfgs", tol=float(tolerance)).fit(x, y)
    np.savez(options.data / "sklearn_model.npz", weight=model.coef_, bias=model.intercept_)
    # A pass over the data that is not its work, so that its answer can be checked: a few hundredths of a second.
    answer(log_loss(model.decision_function(x), y), iterations=int(model.n_iter_[0]))


def main():
    options = arguments(__doc__)
    if options.work == "csv":
        return from_csv(options)
    x, y = load(options)
    short = warm_up(options.settings)
    train_mse(x[: short["rows"]], y[: short["rows"]], short)
    with Clock() as clock:
        model = train_mse(x, y, options.settings)
    assert model.coef_.dtype == x.dtype
    answer(mse(x, y, model.coef_, model.intercept_), clock.seconds)


if __name__ == "__main__":
    main()
