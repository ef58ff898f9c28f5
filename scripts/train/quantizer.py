"""Residual vector quantisation as it is trained: codebooks follow the mean of what chooses them; dead rows move."""

import torch
import torch.nn.functional as F
from torch import nn

DECAY = 0.99
DEAD = 0.03  # a row chosen less often than this share of the average row is replaced


class Quantizer(nn.Module):
    def __init__(self, codebooks, entries, width):
        super().__init__()
        self.register_buffer("embed", torch.zeros(codebooks, entries, width))
        self.register_buffer("sums", torch.zeros(codebooks, entries, width))
        self.register_buffer("counts", torch.ones(codebooks, entries))
        self.begun = False

    def get_extra_state(self):
        return self.begun  # no tensor: looking at one would wait for the GPU

    def set_extra_state(self, begun):
        self.begun = begun

    def forward(self, z):
        """z [B, D, T] → quantised z with a straight-through gradient, codes [B, Q, T], commitment loss.

        Before begin() z passes as it is, and the loss keeps it small: an encoder that has learnt nothing would choose one
        row for everything.
        """
        if not self.begun:
            return z, None, 0.01 * z.square().mean()
        flat = z.transpose(1, 2).reshape(-1, z.shape[1]).float()
        rest, whole, codes, loss = flat, torch.zeros_like(flat), [], flat.new_zeros(())
        for q in range(len(self.embed)):
            index = self.nearest(q, rest)
            row = self.embed[q][index]
            if self.training:
                self.follow(q, index, rest.detach())
                loss = loss + F.mse_loss(rest, row)
            codes.append(index)
            whole, rest = whole + row, rest - row
        whole = flat + (whole - flat).detach()
        shape = (z.shape[0], z.shape[2], -1)
        return whole.view(shape).transpose(1, 2), torch.stack(codes).view(-1, *shape[:2]).transpose(0, 1), loss

    @torch.no_grad()
    def begin(self, z, rounds=8):
        """Places the rows by k-means on z [B, D, T], codebook after codebook."""
        rest = z.transpose(1, 2).reshape(-1, z.shape[1]).float()
        for q in range(len(self.embed)):
            self.embed[q] = rest[torch.randint(len(rest), (self.embed.shape[1],), device=rest.device)]
            for _ in range(rounds):
                index = self.nearest(q, rest)
                counts = torch.bincount(index, minlength=self.embed.shape[1]).float()[:, None]
                sums = torch.zeros_like(self.embed[q]).index_add_(0, index, rest)
                self.embed[q] = torch.where(counts > 0, sums / counts.clamp(min=1), self.embed[q])
            self.sums[q] = self.embed[q]
            rest = rest - self.embed[q][self.nearest(q, rest)]
        self.begun = True

    def nearest(self, q, rest):
        return (self.embed[q].square().sum(1) - 2 * rest @ self.embed[q].T).argmin(1)

    @torch.no_grad()
    def follow(self, q, index, rest):
        """Moves the rows towards the means of what chose them, and dead rows onto vectors of the batch."""
        rows = self.embed.shape[1]
        weight = torch.full_like(rest[:, 0], rows / len(index))  # 1 for a row, on average
        counts = torch.zeros_like(self.counts[q]).index_add_(0, index, weight)  # bincount would wait for the GPU
        sums = torch.zeros_like(self.embed[q]).index_add_(0, index, rest) * (rows / len(index))
        counts, sums = self.counts[q].lerp(counts, 1 - DECAY), self.sums[q].lerp(sums, 1 - DECAY)
        dead = (counts < DEAD)[:, None]
        chosen = rest[torch.randint(len(rest), (rows,), device=rest.device)]
        self.sums[q] = torch.where(dead, chosen, sums)
        self.counts[q] = torch.where(dead[:, 0], torch.ones_like(counts), counts)
        self.embed[q] = self.sums[q] / self.counts[q][:, None]

    def decode(self, codes):
        """codes [B, Q, T] → z [B, D, T]"""
        return sum(self.embed[q][codes[:, q]] for q in range(len(self.embed))).transpose(1, 2)
