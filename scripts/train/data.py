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
    """Yields batches of windows: audio [count, samples] and the pieces."""

    def __init__(self, device, first=0):
        self.machine, self.seed = synth.Synth(device), first
        cores = os.cpu_count() or 1
        self.workers = get_context("spawn").Pool(cores - 1) if cores > 2 else None
        self.ready = None

    def next(self, count):
        """The next count windows. While they render, the workers write the scores of as many more."""
        waiting, self.ready = self.ready, None
        windows = waiting.get() if waiting else self.scores(count)
        self.seed += count
        if self.workers:
            self.ready = self.workers.map_async(_window, range(self.seed, self.seed + count), chunksize=4)
        return compose.render(self.machine, windows, WINDOW), [p for p, _ in windows]

    def scores(self, count):
        return [_window(s) for s in range(self.seed, self.seed + count)]


class Pool:
    """A store of audio windows of which a few are replaced at every step; batches are cut from it anywhere."""

    def __init__(self, music, size, generator):
        self.music, self.generator, self.at = music, generator, 0
        self.audio = torch.empty(size, int(WINDOW * synth.RATE), dtype=torch.float16, device=music.machine.device)
        for i in range(0, size, 8):
            self.refresh(min(8, size - i))

    def refresh(self, count):
        audio, _ = self.music.next(count)
        for row in audio:
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
