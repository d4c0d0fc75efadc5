"""The works in PyTorch.

- `ones`: tensors by hand, without autograd, each operation with its `out`; no DataLoader, rows by `index_select`; for
  one output the bias is the weight of a column of ones that was put into the data beforehand.
- `apart`: the same, with the bias by itself.
- `compile`: one step, gather included, through `torch.compile`.
- `module`: as most people write it: `nn.Linear`, a loss of `nn.functional`, autograd, `optim.SGD`.
"""

import contextlib

import torch
import torch.nn.functional as F

from common import Clock, answer, arguments, cross_entropy, load, mse, read_csv, steps, warm_up, with_ones


def orders(settings, work):
    """The rows of each step, as views of one permutation; a new one in each epoch. Nothing for a full batch."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(settings["epochs"]):
        if work == "full":
            yield None
        else:
            yield from torch.randperm(settings["rows"], generator=generator).split(settings["batch"])


def squared_error(z, y):
    """The sum of the loss. Its gradient takes the place of z, but for the factor 2."""
    z.sub_(y)
    return torch.dot(z, z)


def logistic(z, y):
    """The sum of the loss. Its gradient takes the place of z."""
    loss = F.softplus(z).sum() - torch.dot(z, y)
    z.sigmoid_().sub_(y)
    return loss


def by_hand(x, y, settings, work, variant):
    """The weights, the bias (0 where it is a weight), and each step's loss and gradient norm."""
    if work == "softmax":
        return softmax_by_hand(x, y, settings)
    loss_of, factor = (logistic, 1) if work == "csv" else (squared_error, 2)
    rows, batch = settings["rows"], settings["batch"]
    weight, gradient = x.new_zeros(x.shape[1]), x.new_empty(x.shape[1])
    bias, bias_gradient = x.new_zeros(()), x.new_empty(())
    losses, squares = x.new_empty(steps(settings)), x.new_empty(steps(settings))
    whole, odd = (
        (x.new_empty(size, x.shape[1]), y.new_empty(size), x.new_empty(size))
        for size in (batch, rows % batch or batch)
    )
    for index, loss, square in zip(orders(settings, work), losses.unbind(), squares.unbind()):
        size = rows if index is None else len(index)
        bx, by, z = whole if size == batch else odd
        if index is None:
            bx, by = x, y
        else:
            torch.index_select(x, 0, index, out=bx)
            torch.index_select(y, 0, index, out=by)
        torch.mv(bx, weight, out=z)
        if variant == "apart":
            z.add_(bias)
        torch.div(loss_of(z, by), size, out=loss)
        torch.mv(bx.t(), z, out=gradient)
        torch.dot(gradient, gradient, out=square)
        rate = settings["lr"] * factor / size
        if variant == "apart":
            torch.sum(z, 0, out=bias_gradient)
            square.addcmul_(bias_gradient, bias_gradient)
            bias.sub_(bias_gradient, alpha=rate)
        # The norm's last touch; for a full batch each is wanted as a number right away.
        square.sqrt_().mul_(factor / size)
        if work == "full":
            loss.item(), square.item()
        weight.sub_(gradient, alpha=rate)
    return weight, bias, losses, squares


def softmax_by_hand(x, y, settings):
    rows, batch, classes = settings["rows"], settings["batch"], settings["classes"]
    weight, bias = x.new_zeros(x.shape[1], classes), x.new_zeros(classes)
    gradient, bias_gradient = torch.empty_like(weight), torch.empty_like(bias)
    flat_gradient = gradient.view(-1)
    losses, norms = x.new_empty(steps(settings)), x.new_empty(steps(settings))

    def buffers(size):
        return (
            x.new_empty(size, x.shape[1]),
            y.new_empty(size),
            x.new_empty(size, classes),
            x.new_ones(size),
            torch.arange(size) * classes,
            x.new_full((size,), -1.0),
        )

    whole, odd = buffers(batch), buffers(rows % batch or batch)
    for index, loss, norm in zip(orders(settings, "softmax"), losses.unbind(), norms.unbind()):
        size = len(index)
        bx, by, z, ones, row_starts, minus_ones = whole if size == batch else odd
        torch.index_select(x, 0, index, out=bx)
        torch.index_select(y, 0, index, out=by)
        torch.addmm(bias, bx, weight, out=z)
        p = torch.log_softmax(z, 1)
        loss.copy_(F.nll_loss(p, by))
        p.exp_()
        p.view(-1).index_add_(0, by.add_(row_starts), minus_ones)
        torch.mm(bx.t(), p, out=gradient)
        torch.mv(p.t(), ones, out=bias_gradient)
        torch.dot(flat_gradient, flat_gradient, out=norm)
        norm.add_(torch.dot(bias_gradient, bias_gradient)).sqrt_().div_(size)
        weight.sub_(gradient, alpha=settings["lr"] / size)
        bias.sub_(bias_gradient, alpha=settings["lr"] / size)
    return weight, bias, losses, norms


@torch.compile(dynamic=False, fullgraph=True)
def compiled_step(x, y, index, weight, bias, loss_slot, norm_slot, work, lr):
    if index is not None:
        x, y = x.index_select(0, index), y.index_select(0, index)
    z = x @ weight + bias
    if work == "softmax":
        z = torch.log_softmax(z, 1)
        loss = F.nll_loss(z, y)
        error = (z.exp() - F.one_hot(y, z.shape[1])) / y.shape[0]
    elif work == "csv":
        loss = (F.softplus(z) - z * y).mean()
        error = (z.sigmoid() - y) / y.shape[0]
    else:
        loss = (z - y).square().mean()
        error = (z - y) * (2 / y.shape[0])
    gradient, bias_gradient = x.t() @ error, error.sum(0)
    loss_slot.copy_(loss)
    norm_slot.copy_((gradient.square().sum() + bias_gradient.square().sum()).sqrt())
    weight.sub_(gradient, alpha=lr)
    bias.sub_(bias_gradient, alpha=lr)


def compiled(x, y, settings, work, variant):
    classes = settings.get("classes")
    weight = x.new_zeros((x.shape[1], classes) if classes else x.shape[1])
    bias = x.new_zeros(classes or ())
    losses, norms = x.new_empty(steps(settings)), x.new_empty(steps(settings))
    for index, loss, norm in zip(orders(settings, work), losses.unbind(), norms.unbind()):
        # A copy: all are aligned alike, so nothing is compiled again.
        index = None if index is None else index.clone()
        compiled_step(x, y, index, weight, bias, loss, norm, work, settings["lr"])
    return weight, bias, losses, norms


def module(x, y, settings, work, variant):
    classes = settings.get("classes")
    model = torch.nn.Linear(x.shape[1], classes or 1, dtype=x.dtype)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    sgd = torch.optim.SGD(model.parameters(), lr=settings["lr"])
    loss_of = {"softmax": F.cross_entropy, "csv": F.binary_cross_entropy_with_logits}.get(work, F.mse_loss)
    losses, norms = [], []
    for index in orders(settings, work):
        bx, by = (x, y) if index is None else (x[index], y[index])
        z = model(bx)
        loss = loss_of(z if classes else z.squeeze(1), by)
        sgd.zero_grad()
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())
        sgd.step()
    weight, bias = model.weight.detach().t(), model.bias.detach()
    return (
        (weight if classes else weight[:, 0]),
        (bias if classes else bias[0]),
        torch.tensor(losses),
        torch.tensor(norms),
    )


def from_csv(options, train):
    """The CSV, read by polars, to a saved model and a saved log."""
    x, y = map(torch.from_numpy, read_csv(options, ones=options.variant == "ones"))
    weight, bias, losses, norms = train(x, y, options.settings, "csv", options.variant)
    torch.save({"weight": weight, "bias": bias}, options.data / "torch_model.pt")
    torch.save({"loss": losses, "grad_norm": norms}, options.data / "torch_log.pt")
    answer(float(losses[-(len(losses) // options.settings["epochs"]) :].mean()))


def main():
    options = arguments(__doc__)
    torch.set_num_threads(options.threads)
    train = {"compile": compiled, "module": module}.get(options.variant, by_hand)
    with contextlib.nullcontext() if train is module else torch.inference_mode():
        if options.work == "csv":
            return from_csv(options, train)
        x, y = load(options)
        x = torch.from_numpy(with_ones(x) if options.variant == "ones" and options.work != "softmax" else x)
        y = torch.from_numpy(y)
        # All of x, though it takes few of its rows: what is compiled is compiled for its shape.
        train(x, y, warm_up(options.settings), options.work, options.variant)
        with Clock() as clock:
            weight, bias, losses, norms = train(x, y, options.settings, options.work, options.variant)
    final_loss = cross_entropy if options.work == "softmax" else mse
    answer(final_loss(x.numpy(), y.numpy(), weight.numpy(), bias.numpy()), clock.seconds, last_norm=float(norms[-1]))


if __name__ == "__main__":
    main()
