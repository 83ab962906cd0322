#!/usr/bin/env python3
"""What the gate's bias (--expert-bias) gains and costs: perplexity of a text, rounds and ms a token.

    bias_cost.py MODEL.gguf TEXT [--ram 3MB] [--tokens 40000] [--bias 0 0.05 0.1 0.2]

Two nodes on loopback, each with room for a part of the experts, share every layer; the text is
scored in windows by the first, alone and with each bias. Decoding is timed on the text's beginning.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "python"))
from coel import Node  # noqa: E402

WINDOW = 512


def start(folder, binary, model, count, extra):
    cluster = folder / "cluster.toml"
    subprocess.run([binary / "coel-node", "keygen", cluster, "--name", "bias"], check=True,
                   stdout=subprocess.DEVNULL)
    nodes = []
    for i in range(1, count + 1):
        log = open(folder / f"n{i}.log", "w")
        nodes.append(subprocess.Popen(
            [binary / "coel-node", "--cluster", cluster, "--listen", f"127.78.0.{i}", "--hello-port",
             "0", *[w for j in range(1, count + 1) for w in ("--peer", f"127.78.0.{j}")],
             "--state", folder / f"s{i}", "--name", f"n{i}", "--model", f"m={model}", "--endpoint",
             f"ipc://{folder}/n{i}.sock", "-t", "1", "--kv", "4MB", "--homing", "off", "--rows", "1", "-q", *extra],
            stderr=log))
    for i in range(1, count + 1):
        for _ in range(200):
            if "event=ready" in (folder / f"n{i}.log").read_text():
                break
            time.sleep(0.1)
        else:
            sys.exit((folder / f"n{i}.log").read_text())
    return nodes


def perplexity(node, tokens):
    total, count = 0.0, 0
    for at in range(0, len(tokens) - WINDOW + 1, WINDOW):
        _, logprobs = node.score(tokens[at:at + WINDOW])
        total += sum(logprobs)
        count += len(logprobs)
    return math.exp(-total / count)


def measure(folder, binary, args, count, extra):
    nodes = start(folder, binary, args.model, count, extra)
    try:
        time.sleep(8 if count > 1 else 0)    # the plan is made and followed
        with Node(f"ipc://{folder}/n1.sock") as node:
            text = pathlib.Path(args.text).read_text()
            tokens = node.tokenize(text)[:args.tokens]
            for _ in range(4):
                list(node.generate(tokens[:64], max_tokens=200, temperature=0, ignore_end=True))
            ppl = perplexity(node, tokens)
            began = time.monotonic()
            list(node.generate(tokens[:64], max_tokens=300, temperature=0, ignore_end=True))
            ms = (time.monotonic() - began) * 1000 / 300
        status = json.loads(subprocess.run(
            [binary / "coel", "status", "--json", "--endpoint", f"ipc://{folder}/n1.sock"],
            check=True, capture_output=True).stdout)
        cluster = status.get("cluster", status)
        rounds = cluster["network"][0]["decode_rounds"] if count > 1 else 0
        return ppl, rounds, ms
    finally:
        for n in nodes:
            n.terminate()
        for n in nodes:
            n.wait()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--ram", default="3MB")
    p.add_argument("--tokens", type=int, default=40000)
    p.add_argument("--bias", type=float, nargs="*", default=[0, 0.05, 0.1, 0.2])
    p.add_argument("--bin", type=pathlib.Path, default=here.parent / "build/release")
    args = p.parse_args()
    print(f"{'':18} perplexity  rounds a decoded token  ms a token")
    cases = [("one node", 1, [])]
    cases += [(f"bias {b:g}", 2, ["--ram", args.ram, "--shape", "horizontal", "--expert-bias", str(b)])
              for b in args.bias]
    for name, count, extra in cases:
        with tempfile.TemporaryDirectory() as folder:
            ppl, rounds, ms = measure(pathlib.Path(folder), args.bin, args, count, extra)
        print(f"{name:18} {ppl:10.4f}  {rounds:22.2f}  {ms:10.2f}", flush=True)


if __name__ == "__main__":
    main()
