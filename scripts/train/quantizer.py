"""Residual vector quantisation as it is trained: codebooks follow the mean of what chooses them; dead rows move."""

import torch
import torch.nn.functional as F
from torch import nn

DECAY = 0.99
DEAD = 0.02  # a row chosen less often than this, on average per step, is replaced


class Quantizer(nn.Module):
    def __init__(self, codebooks, entries, width):
        super().__init__()
        self.register_buffer("embed", torch.randn(codebooks, entries, width) * 0.1)
        self.register_buffer("sums", self.embed.clone())
        self.register_buffer("counts", torch.ones(codebooks, entries))
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, z):
        """z [B, D, T] → quantised z with a straight-through gradient, codes [B, Q, T], commitment loss."""
        flat = z.transpose(1, 2).reshape(-1, z.shape[1]).float()
        rest, whole, codes, loss = flat, torch.zeros_like(flat), [], flat.new_zeros(())
        for q in range(len(self.embed)):
            if self.training and not self.begun:
                self.restart(q, torch.ones_like(self.counts[q], dtype=torch.bool), rest)
            index = self.nearest(q, rest)
            row = self.embed[q][index]
            if self.training:
                self.follow(q, index, rest.detach())
                loss = loss + F.mse_loss(rest, row)
            codes.append(index)
            whole, rest = whole + row, rest - row
        if self.training:
            self.begun.fill_(True)
        whole = flat + (whole - flat).detach()
        shape = (z.shape[0], z.shape[2], -1)
        return whole.view(shape).transpose(1, 2), torch.stack(codes).view(-1, *shape[:2]).transpose(0, 1), loss

    def nearest(self, q, rest):
        return (self.embed[q].square().sum(1) - 2 * rest @ self.embed[q].T).argmin(1)

    @torch.no_grad()
    def follow(self, q, index, rest):
        counts = torch.bincount(index, minlength=self.embed.shape[1]).float()
        sums = torch.zeros_like(self.embed[q]).index_add_(0, index, rest)
        self.counts[q].lerp_(counts, 1 - DECAY)
        self.sums[q].lerp_(sums, 1 - DECAY)
        self.embed[q] = self.sums[q] / self.counts[q].clamp(min=1e-3)[:, None]
        self.restart(q, self.counts[q] < DEAD, rest)

    @torch.no_grad()
    def restart(self, q, rows, rest):
        """Puts rows onto vectors of the batch."""
        chosen = rest[torch.randint(len(rest), (len(rows),), device=rest.device)].detach()
        self.embed[q] = torch.where(rows[:, None], chosen, self.embed[q])
        self.sums[q] = torch.where(rows[:, None], chosen, self.sums[q])
        self.counts[q] = torch.where(rows, torch.ones_like(self.counts[q]), self.counts[q])

    def decode(self, codes):
        """codes [B, Q, T] → z [B, D, T]"""
        return sum(self.embed[q][codes[:, q]] for q in range(len(self.embed))).transpose(1, 2)
