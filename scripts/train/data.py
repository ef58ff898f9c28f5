"""Endless composed music for training, in order of seed.

    scores (all cores) ──► audio (a device) ──► prepared: float16, or codes ──► a store that batches are cut from

On a GPU all of it happens in processes beside the training, on the last GPU there is, so that neither waits for the
other: a refresh takes what is ready. On a processor the training composes for itself, now and then.
"""

import os
import queue
import signal
import sys
from multiprocessing import get_context

import torch

import compose
import describe
import synth
from plan import WINDOW

PRODUCERS = 4  # processes that render; more wait for the same GPU
BEGIN = 8  # training begins when this part of a store is full


def _window(seed):
    return compose.window(seed, WINDOW, False)


class Music:
    """Makes count windows at a time, and skips skip windows after them. While they render, other processes write the scores
    of the next."""

    def __init__(self, device, count, first, prepare, workers=0, skip=0):
        self.machine, self.count, self.seed, self.stride = synth.Synth(device), count, first, count + skip
        self.prepare = prepare.on(device)
        self.pool = get_context("spawn").Pool(workers) if workers else None
        self.ready = self.ahead()

    def ahead(self):
        seeds = range(self.seed, self.seed + self.count)
        return self.pool.map_async(_window, seeds, chunksize=2) if self.pool else None

    def next(self, wait=True):
        """(prepared audio as numpy, facts of each window, seed to go on from). What is not finite is left out."""
        windows = self.ready.get() if self.ready else [_window(s) for s in range(self.seed, self.seed + self.count)]
        self.seed += self.stride
        self.ready = self.ahead()
        audio, pieces = compose.render(self.machine, windows, WINDOW), [p for p, _ in windows]
        good = audio.isfinite().all(dim=1)
        return self.prepare(audio[good]), [describe.facts(p) for p, g in zip(pieces, good.tolist()) if g], self.seed

    def close(self):
        if self.pool:
            self.pool.terminate()


class Beside:
    """The same from processes beside this one. Between them they leave no seed out."""

    def __init__(self, device, count, first, prepare):
        context, cores = get_context("spawn"), os.cpu_count() or 1
        self.ready = context.Queue(2 * PRODUCERS)
        workers = max(1, (cores - 2) // PRODUCERS - 1)
        self.processes = [
            context.Process(target=_produce, args=(self.ready, os.getpid(), device, count, first + i * count, prepare, workers, (PRODUCERS - 1) * count))
            for i in range(PRODUCERS)
        ]
        for p in self.processes:
            p.start()

    def next(self, wait=True):
        """As Music.next; None if nothing is ready and wait is False."""
        while True:
            try:
                return self.ready.get(block=wait, timeout=5)
            except queue.Empty:
                dead = [p.exitcode for p in self.processes if not p.is_alive()]
                if dead:
                    raise SystemExit(f"data: a process that composes ended with {dead[0]}") from None
                if not wait:
                    return None

    def close(self):
        for p in self.processes:
            p.terminate()


def _produce(ready, parent, device, *how):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ready.cancel_join_thread()  # nobody waits for what is not taken any more
    torch.set_num_threads(1)
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)
    music = Music(device, how[0], how[1], how[2], workers=how[3], skip=how[4])
    while os.getppid() == parent:
        made = music.next()
        while os.getppid() == parent:
            try:
                ready.put(made, timeout=2)
                break
            except queue.Full:
                continue


def source(device, count, first, prepare):
    """Music on a processor, Beside on a GPU. prepare.on(device) gives what turns audio [B, samples] into numpy."""
    if torch.device(device).type == "cpu":
        return Music(device, count, first, prepare)
    return Beside(f"cuda:{torch.cuda.device_count() - 1}", count, first, prepare)


class AsAudio:
    """Audio as it is, in float16."""

    def on(self, device):
        return lambda audio: audio.half().cpu().numpy()


def sent(values, device):
    """A tensor of a numpy array on a device, without waiting for what the device still has to do."""
    tensor = torch.from_numpy(values)
    return tensor if torch.device(device).type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


class Store:
    """The newest windows on a device, with what is true of them; a few are replaced at a time."""

    def __init__(self, music, size, shape, dtype, device):
        self.music, self.at, self.seed = music, 0, 0
        self.rows, self.facts = torch.empty(size, *shape, dtype=dtype, device=device), [None] * size
        while self.at < -(-size // BEGIN):
            self.refresh(wait=True)

    def refresh(self, wait=False):
        made = self.music.next(wait)
        if made is None:
            return
        rows, facts, seed = made
        self.seed = max(self.seed, seed)
        for row, truth in zip(sent(rows, self.rows.device), facts):
            self.rows[self.at % len(self.rows)] = row
            self.facts[self.at % len(self.rows)] = truth
            self.at += 1

    def batch(self, rows, length, random):
        """[rows, …, length] cut anywhere, and their facts."""
        index = random.integers(min(self.at, len(self.rows)), size=rows)
        start = random.integers(self.rows.shape[-1] - length + 1, size=rows)
        return torch.stack([self.rows[i, ..., s : s + length] for i, s in zip(index, start)]), [self.facts[i] for i in index]


def audio_store(device, stage, first):
    music = source(device, stage.fresh, first, AsAudio())
    return Store(music, stage.pool, (int(WINDOW * synth.RATE),), torch.float16, device)


def held_out(device, count, seconds):
    """Audio [count, samples] and pieces that training never sees."""
    machine = synth.Synth(device)
    return compose.compose(machine, range(compose.HELD_OUT, compose.HELD_OUT + count), seconds)
