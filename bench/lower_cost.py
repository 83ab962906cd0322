#!/usr/bin/env python3
"""What copies of fewer bits (--low-precision) gain and cost: perplexity of a text, ms a token.

    lower_cost.py MODEL.gguf TEXT [--resident 0.25] [--tokens 8000] [--share 0 0.1 0.2 0.4]
                  [--type auto ...] [--rows 1 512]

One node with a part of the experts in memory. The text is scored in windows: with --rows 1 row by
row, as tokens are decoded, with --rows 512 as a prompt. Decoding is timed on the text's beginning.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from bias_cost import perplexity

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "python"))
from coel import Node  # noqa: E402

ANSWER = 400


def start(folder, args, rows, extra):
    log = folder / "node.log"
    node = subprocess.Popen(
        [args.bin / "coel-node", "--model", f"m={args.model}", "--endpoint", f"ipc://{folder}/n.sock", "-t",
         str(args.threads), "--kv", "8MB", "--rows", str(rows), *extra],
        stderr=open(log, "w"), env={"HOME": str(folder)})
    for _ in range(600):
        if "event=ready" in log.read_text():
            return node
        time.sleep(0.1)
    sys.exit(log.read_text())


def tiers(args, folder):
    status = json.loads(subprocess.run([args.bin / "coel", "status", "--json", "--endpoint", f"ipc://{folder}/n.sock"],
                                       check=True, capture_output=True).stdout)
    models = status["memory"][0].get("models", [])
    return models[0] if models else {}


def uses(t):
    """All of them, those that found theirs, those that ran a copy; bytes read."""
    layers = t.get("layers", [])
    total = sum(sum(l[k] for k in ("hits", "foreseen", "late", "misses", "lower")) for l in layers)
    return total, sum(l["hits"] + l["foreseen"] for l in layers), sum(l["lower"] for l in layers)


def share(before, after):
    total = uses(after)[0] - uses(before)[0]
    if not total:
        return 100.0, 0.0
    return tuple(100 * (uses(after)[i] - uses(before)[i]) / total for i in (1, 2))


def measure(folder, args, rows, extra):
    process = start(folder, args, rows, extra)
    try:
        with Node(f"ipc://{folder}/n.sock") as node:
            tokens = node.tokenize(pathlib.Path(args.text).read_text())
            scored = tokens[:args.tokens]
            warm = tokens[args.tokens:2 * args.tokens]
            if scored:
                perplexity(node, warm)    # what is missed is known, and has its copies
            for i in range(4):
                list(node.generate(tokens[100 * i:100 * i + 64], max_tokens=ANSWER, temperature=0, ignore_end=True))
            time.sleep(2)
            before = tiers(args, folder)
            ppl = perplexity(node, scored) if scored else float("nan")
            after = tiers(args, folder)
            began = time.monotonic()
            for i in range(4):
                list(node.generate(tokens[1000 + 100 * i:1064 + 100 * i], max_tokens=ANSWER, temperature=0,
                                   ignore_end=True))
            ms = (time.monotonic() - began) * 1000 / (4 * (ANSWER + 64))
            found, lower = share(before, after)
            answer = share(after, tiers(args, folder))[1]
        return ppl, found, lower, answer, ms
    finally:
        process.terminate()
        process.wait()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--resident", default="0.25")
    p.add_argument("--tokens", type=int, default=8192)
    p.add_argument("--share", nargs="*", default=["0", "0.1", "0.2", "0.4"])
    p.add_argument("--type", nargs="*", default=["auto"])
    p.add_argument("--rows", nargs="*", type=int, default=[1, 512])
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--bin", type=pathlib.Path, default=here.parent / "build/release")
    args = p.parse_args()
    print(f"{'':28} {'perplexity':>10} {'found %':>8} {'copies %':>8} {'in answers %':>12} {'ms/token':>8}")
    for rows in args.rows:
        cases = [("in memory", [])]
        for s in args.share:
            for t in args.type if float(s) else args.type[:1]:
                name = f"copies {s} of it, {t}" if float(s) else "every miss is waited for"
                cases.append((name, ["--resident", args.resident, "--low-precision", s, "--low-precision-type", t]))
        for name, extra in cases:
            with tempfile.TemporaryDirectory() as folder:
                r = measure(pathlib.Path(folder), args, rows, extra)
            print(f"{rows:3} rows, {name:18} {r[0]:10.4f} {r[1]:8.1f} {r[2]:8.1f} {r[3]:12.1f} {r[4]:8.2f}", flush=True)


if __name__ == "__main__":
    main()
