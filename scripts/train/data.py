"""Endless composed music for training, in order of seed: the scores are written by all cores, the device renders."""

import os
from multiprocessing import get_context

import torch

import compose
import synth
from plan import WINDOW


def _window(seed):
    return compose.window(seed, WINDOW, False)


class Music:
    """Makes count windows at a time. While they render, other processes write the scores of the next."""

    def __init__(self, device, count, first=0):
        self.machine, self.count, self.seed = synth.Synth(device), count, first
        cores = os.cpu_count() or 1
        self.workers = get_context("spawn").Pool(cores - 1) if cores > 2 else None
        self.ready = self.ahead()

    def ahead(self):
        seeds = range(self.seed, self.seed + self.count)
        return self.workers.map_async(_window, seeds, chunksize=2) if self.workers else None

    def next(self):
        """Audio [count, samples] and its pieces."""
        windows = self.ready.get() if self.ready else [_window(s) for s in range(self.seed, self.seed + self.count)]
        self.seed += self.count
        self.ready = self.ahead()
        return compose.render(self.machine, windows, WINDOW), [p for p, _ in windows]


class Pool:
    """A store of audio windows of which a few are replaced at a time; batches are cut from it anywhere."""

    def __init__(self, music, size, generator):
        self.music, self.generator, self.at = music, generator, 0
        self.audio = torch.empty(size, int(WINDOW * synth.RATE), dtype=torch.float16, device=music.machine.device)
        while self.at < size:
            self.refresh()

    def refresh(self):
        for row in self.music.next()[0]:
            self.audio[self.at % len(self.audio)] = row
            self.at += 1

    def batch(self, rows, samples):
        """[rows, 1, samples]"""
        pick = torch.randint(len(self.audio), (rows,), generator=self.generator).tolist()
        start = torch.randint(self.audio.shape[1] - samples, (rows,), generator=self.generator).tolist()
        return torch.stack([self.audio[i, s : s + samples] for i, s in zip(pick, start)]).float()[:, None]


def held_out(device, count, seconds):
    """Audio [count, samples] and pieces that training never sees."""
    machine = synth.Synth(device)
    return compose.compose(machine, range(compose.HELD_OUT, compose.HELD_OUT + count), seconds)
