"""The works in NumPy: nothing is allocated in a step, each operation has its `out`, rows are gathered by `np.take`.

Variants where there is one output: `ones`, the bias as the weight of a column of ones that was put into the data
beforehand; `apart`, the bias by itself. Unlike these, `plain` gathers rows by indexing, and each result is a new array;
it is there for the works `mse` and `softmax`.
"""

import numpy as np

from common import Clock, answer, arguments, cross_entropy, load, mse, read_csv, steps, warm_up, with_ones


class Buffers:
    """The arrays of one step."""

    def __init__(self, rows, x, y):
        self.x = np.empty((rows, x.shape[1]), x.dtype)
        self.y = np.empty(rows, y.dtype)
        self.z = np.empty(rows, x.dtype)
        self.scratch = np.empty(rows, x.dtype)


class SoftmaxBuffers:
    def __init__(self, rows, x, classes):
        self.x = np.empty((rows, x.shape[1]), x.dtype)
        self.y = np.empty(rows, np.int64)
        self.z = np.empty((rows, classes), x.dtype)
        self.flat_z = self.z.reshape(-1)
        self.row = np.empty((rows, 1), x.dtype)
        self.right = np.empty(rows, x.dtype)
        self.row_starts = np.arange(rows) * classes
        self.ones = np.ones(rows, x.dtype)


def batches(settings, make_buffers):
    """The rows of each step, with buffers of that size; a new order in each epoch."""
    rng = np.random.default_rng(0)
    rows, batch = settings["rows"], settings["batch"]
    whole, odd = make_buffers(batch), make_buffers(rows % batch or batch)
    for _ in range(settings["epochs"]):
        order = rng.permutation(rows)
        for start in range(0, rows, batch):
            yield order[start : start + batch], whole if start + batch <= rows else odd


def squared_error(z, y, scratch):
    """The sum of the loss. Its gradient takes the place of z, but for the factor 2."""
    z -= y
    return z.dot(z)


def logistic(z, y, scratch):
    """As above, by exp(-z): log(1 + exp(-z)) + z (1 - y), and 1 / (1 + exp(-z)) - y."""
    loss = z.sum() - z.dot(y)
    np.negative(z, out=z)
    np.exp(z, out=z)
    loss += np.log1p(z, out=scratch).sum()
    z += 1
    np.reciprocal(z, out=z)
    z -= y
    return loss


def train_one_output(x, y, settings, loss_of, factor, variant):
    """In batches. The weights, the bias (0 where it is a weight), and each step's loss and gradient norm."""
    dtype = x.dtype.type
    weight, gradient, bias, bias_gradient = (
        np.zeros(x.shape[1], dtype),
        np.empty(x.shape[1], dtype),
        dtype(0),
        dtype(0),
    )
    losses, norms = np.empty(steps(settings)), np.empty(steps(settings))
    for step, (rows, b) in enumerate(batches(settings, lambda size: Buffers(size, x, y))):
        # `clip` lets take write straight to `out`; the indices are in range anyway.
        x.take(rows, axis=0, out=b.x, mode="clip")
        y.take(rows, out=b.y, mode="clip")
        np.dot(b.x, weight, out=b.z)
        if variant == "apart":
            b.z += bias
        losses[step] = loss_of(b.z, b.y, b.scratch) / len(rows)
        np.dot(b.z, b.x, out=gradient)
        square = gradient.dot(gradient)
        rate = dtype(settings["lr"] * factor / len(rows))
        if variant == "apart":
            bias_gradient = b.z.sum()
            square += bias_gradient * bias_gradient
            bias -= rate * bias_gradient
        norms[step] = factor / len(rows) * square**0.5
        gradient *= rate
        weight -= gradient
    return weight, bias, losses, norms


def train_full(x, y, settings, variant):
    """A full batch: no order, no gather, loss and gradient norm as numbers of Python in each step."""
    rows = len(x)
    weight, gradient, bias, bias_gradient = np.zeros(x.shape[1]), np.empty(x.shape[1]), 0.0, 0.0
    z = np.empty(rows)
    losses, norms = [], []
    dot, rate, scale = np.dot, 2 * settings["lr"] / rows, 2 / rows
    for _ in range(settings["epochs"]):
        dot(x, weight, out=z)
        if variant == "apart":
            z += bias
        z -= y
        losses.append(float(dot(z, z)) / rows)
        dot(z, x, out=gradient)
        square = float(dot(gradient, gradient))
        if variant == "apart":
            bias_gradient = float(z.sum())
            square += bias_gradient * bias_gradient
            bias -= rate * bias_gradient
        norms.append(scale * square**0.5)
        gradient *= rate
        weight -= gradient
    return weight, bias, losses, norms


def train_softmax(x, y, settings):
    dtype, classes = x.dtype.type, settings["classes"]
    weight, bias = np.zeros((x.shape[1], classes), dtype), np.zeros(classes, dtype)
    gradient, bias_gradient = np.empty_like(weight), np.empty_like(bias)
    flat_gradient = gradient.reshape(-1)
    losses, norms = np.empty(steps(settings)), np.empty(steps(settings))
    for step, (rows, b) in enumerate(batches(settings, lambda size: SoftmaxBuffers(size, x, classes))):
        x.take(rows, axis=0, out=b.x, mode="clip")
        y.take(rows, out=b.y, mode="clip")
        b.y += b.row_starts
        np.dot(b.x, weight, out=b.z)
        b.z += bias
        np.max(b.z, axis=1, keepdims=True, out=b.row)
        b.z -= b.row
        b.flat_z.take(b.y, out=b.right, mode="clip")
        np.exp(b.z, out=b.z)
        np.sum(b.z, axis=1, keepdims=True, out=b.row)
        b.z /= b.row
        np.log(b.row, out=b.row)
        losses[step] = (b.row.sum() - b.right.sum()) / len(rows)
        b.flat_z[b.y] -= 1
        np.dot(b.x.T, b.z, out=gradient)
        np.dot(b.ones, b.z, out=bias_gradient)
        square = flat_gradient.dot(flat_gradient) + bias_gradient.dot(bias_gradient)
        norms[step] = square**0.5 / len(rows)
        rate = dtype(settings["lr"] / len(rows))
        gradient *= rate
        weight -= gradient
        bias_gradient *= rate
        bias -= bias_gradient
    return weight, bias, losses, norms


def plain_batches(x, y, settings):
    """The number of each step, its features and its targets, in new arrays."""
    for step, (rows, _) in enumerate(batches(settings, lambda size: None)):
        yield step, x[rows], y[rows]


def train_mse_plain(x, y, settings):
    weight, bias, lr = np.zeros(x.shape[1], x.dtype), x.dtype.type(0), x.dtype.type(settings["lr"])
    losses, norms = np.empty(steps(settings)), np.empty(steps(settings))
    for step, x_batch, y_batch in plain_batches(x, y, settings):
        error = x_batch @ weight + bias - y_batch
        losses[step] = np.mean(error**2)
        error *= 2 / len(error)
        gradient, bias_gradient = x_batch.T @ error, error.sum()
        norms[step] = np.sqrt(np.sum(gradient**2) + bias_gradient**2)
        weight -= lr * gradient
        bias -= lr * bias_gradient
    return weight, bias, losses, norms


def train_softmax_plain(x, y, settings):
    classes, lr = settings["classes"], x.dtype.type(settings["lr"])
    weight, bias = np.zeros((x.shape[1], classes), x.dtype), np.zeros(classes, x.dtype)
    losses, norms = np.empty(steps(settings)), np.empty(steps(settings))
    for step, x_batch, y_batch in plain_batches(x, y, settings):
        z = x_batch @ weight + bias
        z = np.exp(z - z.max(axis=1, keepdims=True))
        p = z / z.sum(axis=1, keepdims=True)
        rows = np.arange(len(p))
        losses[step] = -np.mean(np.log(p[rows, y_batch]))
        p[rows, y_batch] -= 1
        p /= len(p)
        gradient, bias_gradient = x_batch.T @ p, p.sum(axis=0)
        norms[step] = np.sqrt(np.sum(gradient**2) + np.sum(bias_gradient**2))
        weight -= lr * gradient
        bias -= lr * bias_gradient
    return weight, bias, losses, norms


def from_csv(options):
    """The CSV, read by polars, to a saved model and a saved log."""
    x, y = read_csv(options, ones=options.variant == "ones")
    weight, bias, losses, norms = train_one_output(x, y, options.settings, logistic, 1, options.variant)
    np.savez(options.data / "numpy_model.npz", weight=weight, bias=bias)
    np.savez(options.data / "numpy_log.npz", loss=losses, grad_norm=norms)
    answer(last_epoch_loss(losses, options.settings))


def last_epoch_loss(losses, settings):
    return float(losses[-(len(losses) // settings["epochs"]) :].mean())


def main():
    options = arguments(__doc__)
    if options.variant == "plain" and options.work not in ("mse", "softmax"):
        raise SystemExit(f"{options.work} has no variant plain: it is there for mse and softmax")
    if options.work == "csv":
        return from_csv(options)
    x, y = load(options)
    if options.variant == "ones":
        x = with_ones(x)
    plain = {"mse": train_mse_plain, "softmax": train_softmax_plain}
    best = {
        "mse": lambda x, y, settings: train_one_output(x, y, settings, squared_error, 2, options.variant),
        "full": lambda x, y, settings: train_full(x, y, settings, options.variant),
        "softmax": train_softmax,
    }
    train = (plain if options.variant == "plain" else best)[options.work]
    short = warm_up(options.settings)
    train(x[: short["rows"]], y[: short["rows"]], short)
    with Clock() as clock:
        weight, bias, losses, norms = train(x, y, options.settings)
    final_loss = cross_entropy if options.work == "softmax" else mse
    answer(final_loss(x, y, weight, bias), clock.seconds, last_norm=float(norms[-1]))


if __name__ == "__main__":
    main()
