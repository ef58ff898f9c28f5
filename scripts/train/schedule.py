"""How far a stage is, by steps or by time, and the learning rate that follows from it."""

import math
import time


class Schedule:
    def __init__(self, stage, warm=200, step=0, spent=0.0):
        self.stage, self.warm, self.step, self.begin = stage, warm, step, time.time() - spent

    @property
    def spent(self):
        return time.time() - self.begin

    @property
    def share(self):
        return max(self.step / self.stage.steps, self.spent / (60 * self.stage.minutes))

    def running(self):
        return self.share < 1

    def advance(self, optimizer):
        """Warms up, then falls along a cosine to a fiftieth of the highest rate."""
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, self.share)))
        for group in optimizer.param_groups:
            group["lr"] = self.stage.rate * min(1, (self.step + 1) / self.warm) * fall
        self.step += 1
