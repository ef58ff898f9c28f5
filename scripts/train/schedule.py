"""How far a stage is, by steps or by time, and the learning rate that follows from it."""

import math
import time

import torch


class Schedule:
    """step and spent (seconds) are where an earlier run stopped; this run stops after stop minutes, if not done before."""

    def __init__(self, stage, warm, step=0, spent=0.0, stop=math.inf):
        self.stage, self.warm, self.step, self.before, self.stop = stage, warm, step, spent, 60 * stop
        self.start()

    def start(self):
        """Time counts from here."""
        self.began = time.time()

    @property
    def spent(self):
        return self.before + time.time() - self.began

    @property
    def share(self):
        return max(self.step / self.stage.steps, self.spent / (60 * self.stage.minutes))

    def running(self):
        return self.share < 1 and time.time() - self.began < self.stop

    def rate(self, device):
        """A learning rate for optimisers, which advance will set."""
        return torch.tensor(self.stage.rate, device=device)

    def advance(self, *optimizers):
        """Warms up, then falls along a cosine to a fiftieth of the highest rate."""
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, self.share)))
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["lr"].fill_(self.stage.rate * min(1, (self.step + 1) / self.warm) * fall)
        self.step += 1
