"""Muon for many matrices of few shapes: those of one shape are made orthogonal together.

torch.optim.Muon takes them one by one, and a hundred small matrices then cost the processor more time than the GPU needs for the
whole step; test_train.py holds this one against it.
"""

import torch

MOMENTUM, DECAY = 0.95, 0.1
QUINTIC = (3.4445, -4.7750, 2.0315)  # Newton–Schulz coefficients of Jordan et al., 2024


class Muon(torch.optim.Optimizer):
    """For matrices alone; rate is a tensor. A step's size matches AdamW's root mean square, so that learning rates mean the same."""

    def __init__(self, matrices, rate):
        shapes = {}
        for p in matrices:
            shapes.setdefault(p.shape, []).append(p)
        super().__init__([{"params": those} for those in shapes.values()], {"lr": rate})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            those, rate = group["params"], group["lr"]
            gradient = torch.stack([p.grad for p in those])
            mean = self.state[those[0]].setdefault("mean", torch.zeros_like(gradient))
            mean.lerp_(gradient, 1 - MOMENTUM)
            direction = orthogonal(gradient.lerp(mean, MOMENTUM))
            torch._foreach_mul_(those, 1 - rate * DECAY)
            torch._foreach_add_(those, list(direction.to(those[0].dtype) * (-0.2 * max(those[0].shape) ** 0.5 * rate)))


def orthogonal(x):
    """The orthogonal matrices nearest to x [n, rows, columns], roughly, in bfloat16."""
    tall = x.shape[1] > x.shape[2]
    x = (x.mT if tall else x).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = QUINTIC
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
