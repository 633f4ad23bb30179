"""The remedies as lines of torch, and the lines that write a record of any torch model.

Each text of ``TORCH`` runs beside a ``model`` of ``nn.Linear`` layers, its ``optimizer`` and the ``loss`` of a step;
``RECORD`` runs beside ``model``, ``optimizer``, ``loss_function`` and ``batches``, pairs of inputs and targets.
"""

from __future__ import annotations

_HIDDEN = "for layer in model.modules():\n    if isinstance(layer, nn.Linear):\n        "

TORCH: dict[str, str] = {
    "relu": "model = nn.Sequential(nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10))  # ReLU in place of nn.Sigmoid()",
    "initialization": (
        f"{_HIDDEN}nn.init.xavier_normal_(layer.weight, gain=nn.init.calculate_gain('tanh'))  # your activation\n"
        "        nn.init.zeros_(layer.bias)"
    ),
    "relu_kaiming": (
        f"{_HIDDEN}nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')  # with nn.ReLU() after it\n"
        "        nn.init.zeros_(layer.bias)"
    ),
    "batch_norm": (
        "model = nn.Sequential(\n"
        "    nn.Linear(64, 30, bias=False), nn.BatchNorm1d(30), nn.ReLU(),  # before every activation\n"
        "    nn.Linear(30, 10),\n"
        ")"
    ),
    "residual": (
        "class Block(nn.Module):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n"
        "        self.linear = nn.Linear(width, width)\n\n"
        "    def forward(self, x):\n"
        "        return x + self.linear(torch.relu(x))"
    ),
    "clip_norm": (
        "loss.backward()\n"
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # between backward() and step()\n"
        "optimizer.step()"
    ),
    "clip_value": (
        "loss.backward()\n"
        "torch.nn.utils.clip_grad_value_(model.parameters(), 0.1)  # between backward() and step()\n"
        "optimizer.step()"
    ),
    "fewer_layers": "model = nn.Sequential(nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10))  # half as many layers",
    "l1": ("loss = loss + 1e-3 * sum(p.abs().sum() for p in model.parameters() if p.dim() > 1)\nloss.backward()"),
    "l2": "optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-3)",
    "smaller_learning_rate": "for group in optimizer.param_groups:\n    group['lr'] *= 0.1",
    "adam": "optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)",
}

RECORD = """import csv

layers = [p for _, p in model.named_parameters() if p.dim() > 1 and p.requires_grad]  # weights, the first layer's first
names = [f"{what}_{number + 1}" for what in ("grad", "weight", "update") for number in range(len(layers))]
with open("record.csv", "w", newline="") as file:
    record = csv.writer(file)
    record.writerow(["step", "loss", *names])
    for step, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        grads = [float(w.grad.norm()) for w in layers]
        before = [w.detach().clone() for w in layers]
        optimizer.step()
        sizes = [float(w.norm()) for w in before]
        updates = [float((w.detach() - b).norm() / b.norm()) for w, b in zip(layers, before)]
        record.writerow([step, loss.item(), *grads, *sizes, *updates])
"""
