"""segue as a host sees it: workers on pipes, their models kept from one request to the next."""

import json
import os
import queue
import subprocess
from concurrent.futures import ThreadPoolExecutor


class Workers:
    """One worker for each core, of one thread: for many requests that is faster than threads that wait for each other."""

    def __init__(self, binary):
        self.all = [Segue(binary) for _ in range(os.cpu_count() or 1)]
        self.idle = queue.SimpleQueue()
        for worker in self.all:
            self.idle.put(worker)

    def ask(self, method, params):
        worker = self.idle.get()
        try:
            return worker.ask(method, params)
        finally:
            self.idle.put(worker)

    def map(self, fn, items):
        """fn of every item, in order; as many at a time as there are workers."""
        with ThreadPoolExecutor(len(self.all)) as pool:
            return list(pool.map(fn, items))

    def close(self):
        for worker in self.all:
            worker.close()


class Segue:
    """A worker that is asked one thing at a time."""

    def __init__(self, binary):
        self.process = subprocess.Popen([binary, "worker", "--threads", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, method, params):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{method}: the worker ended with code {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
