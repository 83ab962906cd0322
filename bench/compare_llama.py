#!/usr/bin/env python3
"""Medians and ratios of the runs that compare_llama.sh left in a folder."""
import json
import pathlib
import statistics
import sys


def coel_speeds(text):
    return {t["test"].split()[0]: t["tokens_per_s"]["median"] for t in json.loads(text)["tests"]}


def llama_speeds(text):
    return {"prompt" if t["n_gen"] == 0 else "decode": t["avg_ts"] for t in json.loads(text)}


def main():
    folder, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    runs = range(1, rounds + 1)
    coel = [coel_speeds((folder / f"coel.{i}").read_text()) for i in runs]
    llama = [llama_speeds((folder / f"llama.{i}").read_text()) for i in runs]
    print(f"{'tokens/s':10} {'coel':>8} {'least .. most':>18} {'llama.cpp':>10} {'least .. most':>18} "
          f"{'ratio':>6} {'least .. most':>14}")
    for test in ("prompt", "decode"):
        if not all(test in run for run in coel + llama):
            continue
        a, b = [run[test] for run in coel], [run[test] for run in llama]
        ratios = [x / y for x, y in zip(a, b)]
        print(f"{test:10} {statistics.median(a):8.2f} {min(a):8.2f} .. {max(a):6.2f} "
              f"{statistics.median(b):10.2f} {min(b):8.2f} .. {max(b):6.2f} "
              f"{statistics.median(ratios):6.2f} {min(ratios):5.2f} .. {max(ratios):5.2f}")


if __name__ == "__main__":
    main()
