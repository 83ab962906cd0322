#!/usr/bin/env python3
"""A cluster under load while its nodes are killed, stopped and ended, from a seed.

    tools/soak.py --seconds 300 --seed 1

Four nodes on this machine hold a good half of the model each, so that any two of them cover it; at most two are hurt
at a time. Clients ask all the while and compare every answer with one of an undisturbed node. Exit 0: no request was
lost and no token was wrong. A token may differ from the reference where its two likeliest are nearly equal: rounding
depends on which node runs what, and quantised activations carry it on.
"""
import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))
from coel import Node  # noqa: E402

PROMPTS = ["Once upon a time, there was a little girl named Lily. She", "Tom and Mia were playing in the park. They",
           "One day, a small bird could not fly. His mother", "The dog saw a big red ball. He"]
NEAR = 0.25   # in log probability: closer than this, either token may come


class Cluster:
    def __init__(self, folder, nodes, bin_folder, model):
        self.folder, self.count, self.bin, self.model = folder, nodes, bin_folder, model
        subprocess.run([bin_folder / "coel-node", "keygen", folder / "cluster.toml"], check=True, stdout=subprocess.DEVNULL)
        self.processes = {}

    def endpoint(self, i):
        return f"ipc://{self.folder}/n{i}.sock"

    def start(self, i):
        base = 16 + os.getpid() % 200
        peers = [a for j in range(self.count) for a in ("--peer", f"127.7.{base}.{j + 1}")]
        self.processes[i] = subprocess.Popen(
            [self.bin / "coel-node", "--cluster", self.folder / "cluster.toml", "--name", f"n{i}",
             "--state", self.folder / f"state{i}", "--model", f"m={self.model}", "--listen", f"127.7.{base}.{i + 1}", *peers,
             "--hello-port", "0", "--endpoint", self.endpoint(i), "--threads", "1", "--ram", "10MB", "--kv", "4MB",
             "--rows", "128", "--wire", "f32", "--quiet"],
            stderr=open(self.folder / f"n{i}.log", "a"))

    def ready(self, i):
        return "event=ready" in (self.folder / f"n{i}.log").read_text().rsplit("event=joined", 1)[-1]

    def await_ready(self, i, seconds=60):
        until = time.monotonic() + seconds
        while not self.ready(i):
            if time.monotonic() > until:
                sys.exit(f"node {i} is not ready after {seconds} s: see {self.folder}/n{i}.log")
            time.sleep(0.05)

    def end(self):
        for p in self.processes.values():
            p.send_signal(signal.SIGCONT)
            p.kill()
            p.wait()


def kill(cluster, i, dice):
    cluster.processes[i].kill()
    cluster.processes[i].wait()
    time.sleep(dice.uniform(0.5, 3))
    cluster.start(i)


def stop(cluster, i, dice):
    cluster.processes[i].send_signal(signal.SIGSTOP)
    time.sleep(dice.uniform(0.2, 3))
    cluster.processes[i].send_signal(signal.SIGCONT)


def leave(cluster, i, dice):
    cluster.processes[i].terminate()
    cluster.processes[i].wait()
    time.sleep(dice.uniform(0.5, 2))
    cluster.start(i)


def hurt(cluster, lane, seed, until, counts):
    """One of two that hurt nodes: each has half of them, so that two at most are hurt at a time."""
    dice = random.Random(f"{seed}/{lane}")
    mine = [i for i in range(cluster.count) if i % 2 == lane]
    while time.monotonic() < until:
        i = dice.choice(mine)
        fault = dice.choice([kill, stop, leave])
        fault(cluster, i, dice)
        cluster.await_ready(i)
        counts[fault.__name__] = counts.get(fault.__name__, 0) + 1
        time.sleep(dice.uniform(1, 4))


def reference(endpoint, prompt, tokens):
    with Node(endpoint) as node:
        return [(p["token"], p["top"]) for p in node.generate(prompt, max_tokens=tokens, temperature=0, ignore_end=True, logprobs=2)]


def is_wrong(answer, expected):
    for token, (right, top) in zip(answer, expected):
        if token != right:
            chances = sorted((t[1] for t in top), reverse=True)
            return token not in [t[0] for t in top] or chances[0] - chances[1] > NEAR
    return len(answer) != len(expected)


def ask(cluster, seed, number, until, expected, tokens, results):
    dice = random.Random(f"{seed}/client {number}")
    endpoints = [cluster.endpoint(i) for i in range(cluster.count)]
    while time.monotonic() < until:
        dice.shuffle(endpoints)
        prompt = dice.choice(PROMPTS)
        answer, last, longest = [], time.monotonic(), 0.0
        try:
            with Node(endpoints) as node:
                for piece in node.generate(prompt, max_tokens=tokens, temperature=0, ignore_end=True):
                    now = time.monotonic()
                    longest, last = max(longest, now - last), now
                    answer.append(piece["token"])
            results.append(("wrong" if is_wrong([t for t in answer if t >= 0], expected[prompt]) else "good", longest, prompt))
        except Exception as problem:  # noqa: BLE001: whatever a user would see is a lost request
            results.append(("lost", 0.0, f"{type(problem).__name__}: {problem}"))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=300)
    options.add_argument("--seed", default="1")
    options.add_argument("--clients", type=int, default=3)
    options.add_argument("--tokens", type=int, default=60)
    options.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release")
    options.add_argument("--model", type=pathlib.Path, default=ROOT / "models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf")
    o = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(pathlib.Path(folder), 4, o.bin, o.model)
        try:
            for i in range(cluster.count):
                cluster.start(i)
            for i in range(cluster.count):
                cluster.await_ready(i)
            expected = {p: reference(cluster.endpoint(0), p, o.tokens) for p in PROMPTS}
            until, results, counts = time.monotonic() + o.seconds, [], {}
            threads = [threading.Thread(target=hurt, args=(cluster, lane, o.seed, until, counts)) for lane in (0, 1)]
            threads += [threading.Thread(target=ask, args=(cluster, o.seed, n, until, expected, o.tokens, results))
                        for n in range(o.clients)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        finally:
            cluster.end()
    gaps = sorted(gap for _, gap, _ in results) or [0.0]
    kinds = {kind: sum(r[0] == kind for r in results) for kind in ("good", "wrong", "lost")}
    print(f"seed {o.seed}: {kinds['good']} answers good, {kinds['wrong']} wrong, {kinds['lost']} lost; faults {counts}; "
          f"longest gap of an answer: median {gaps[len(gaps) // 2]:.2f} s, 99 % {gaps[int(len(gaps) * 0.99) - 1 if len(gaps) > 99 else -1]:.2f} s")
    for kind, _, why in results:
        if kind != "good":
            print(f"{kind}: {why}")
    sys.exit(0 if kinds["good"] and not kinds["wrong"] and not kinds["lost"] else 1)


if __name__ == "__main__":
    main()
