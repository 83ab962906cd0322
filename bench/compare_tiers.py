#!/usr/bin/env python3
"""Medians, ratios and bounds of the runs that compare_tiers.sh left in a folder."""
import json
import pathlib
import re
import statistics
import sys

median = statistics.median


def decode_of(text):
    return next(t for t in json.loads(text)["tests"] if t["test"].startswith("decode"))


def row(name, values):
    print(f"{name:34} {median(values):8.2f} {min(values):8.2f} .. {max(values):.2f}")


def most_held(text):
    found = re.search(r"most held in the group: (\d+) of (\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def main():
    folder, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    runs = range(1, rounds + 1)
    ours = [decode_of((folder / f"coel.{i}").read_text()) for i in runs]
    speeds = [t["tokens_per_s"]["median"] for t in ours]
    llama = [json.loads((folder / f"llama.{i}").read_text())[-1]["avg_ts"] for i in runs]
    print(f"{'':34} {'median':>8} {'least .. most':>17}")
    row("coel, tokens/s", speeds)
    row("llama.cpp, tokens/s", llama)
    row("ratio", [a / b for a, b in zip(speeds, llama)])
    used = [t["tiers"] for t in ours if t.get("tiers")]
    if used:
        row("found in memory, %", [100 * u["found"] / u["uses"] for u in used])
        row("read by a token, MB", [u["read_bytes"] / u["tokens"] / 1e6 for u in used])
        row("waited by a token, ms", [u["stall_us"] / u["tokens"] / 1e3 for u in used])
        row("disk, GB/s", [u["disk_bytes_per_s"] / 1e9 for u in used])
    full_runs = [folder / f"full.{i}" for i in runs]
    if all(f.exists() for f in full_runs):
        full = [decode_of(f.read_text())["tokens_per_s"]["median"] for f in full_runs]
        row("coel with all in memory, tokens/s", full)
        row("of it under the limit", [a / b for a, b in zip(speeds, full)])
        if used:
            # Nothing overlaps: a token's computation, then its bytes at the disk's rate.
            bound = [1 / (1 / f + u["read_bytes"] / u["tokens"] / u["disk_bytes_per_s"])
                     for f, u in zip(full, used)]
            row("bound: compute, then read", bound)
            row("of the bound", [a / b for a, b in zip(speeds, bound)])
    for name in ("coel", "llama"):
        held = [most_held((folder / f"{name}.{i}.err").read_text()) for i in runs]
        print(f"most that {name}'s group held: {max(h for h, _ in held) / 1e9:.2f} of "
              f"{held[0][1] / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
