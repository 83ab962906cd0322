#!/usr/bin/env python3
"""A cluster under load while its nodes and its network are hurt, from a seed.

    tools/soak.py --minutes 5 --assert-pause      # on a machine that does nothing else
    tools/soak.py --seconds 25 --nodes 3          # shorter; --seed repeats a plan, --plan only prints it

Each node holds a good half of the model. Clients ask all the while, and every token is compared with that of a node that
nobody hurts. Fails if an answer is wrong or lost, a node crashes, or the cluster is not whole again at the end;
with --assert-pause also if more than 1 % of the answers that a node only helped with paused for a second when it died.
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import soak_clients  # noqa: E402
import soak_cluster  # noqa: E402
import soak_faults  # noqa: E402
import soak_plan  # noqa: E402
import soak_report  # noqa: E402

ROOT = HERE.parent
PAUSE_S = 1.0                       # which the pauses after a helper's death stay below, but for 1 %
ALONE = "COEL_SOAK_ALONE"           # set inside a network namespace of its own


def read_options():
    o = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    o.add_argument("--minutes", type=float, help="how long faults are brought")
    o.add_argument("--seconds", type=float, default=60)
    o.add_argument("--seed", default="1")
    o.add_argument("--nodes", type=int, default=4)
    o.add_argument("--clients", type=int, default=4)
    o.add_argument("--tokens", type=int, default=100, help="of each answer")
    o.add_argument("--ram", default="11MB", help="of each node")
    o.add_argument("--only", help="kinds of faults, with commas between; 'pair': two nodes at once")
    o.add_argument("--plan", action="store_true", help="print the plan and end")
    o.add_argument("--assert-pause", action="store_true", help="fails on long pauses: for a quiet machine only")
    o.add_argument("--lab", metavar="RATE,RTT_MS", help="network namespaces of bench/lab.sh, such as 1gbit,0.2; needs root")
    o.add_argument("--keep", type=pathlib.Path,
                   help="folder for the nodes' logs, and for what they say of themselves while an answer pauses")
    o.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release")
    o.add_argument("--model", type=pathlib.Path, default=ROOT / "models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf")
    o = o.parse_args()
    o.seconds = o.minutes * 60 if o.minutes else o.seconds
    return o


def go_alone():
    """Into a network namespace of its own, if this user may: there HELLOs reach nobody else."""
    if os.environ.get(ALONE) or subprocess.run(["unshare", "-Urn", "true"], capture_output=True).returncode:
        return
    os.environ[ALONE] = "1"
    os.execvp("unshare", ["unshare", "-Urn", "sh", "-c", 'ip link set lo up && exec "$0" "$@"', sys.executable, *sys.argv])


def bring_all(cluster, plan, o):
    """Until the plan is through; what was done. A node that ends by itself ends the soak."""
    records, zero = [], time.monotonic()
    for fault in plan:
        time.sleep(records[-1].fault.rest if records else fault.at)
        cluster.measure()
        records.append(soak_faults.bring(cluster, fault))
        cluster.check()
        if cluster.crashes:
            break
    time.sleep(soak_report.TAIL_S)
    cluster.check()
    return records, zero


def soak(cluster, plan, o):
    """Lines of the report, and what is to be complained of."""
    judge = soak_clients.Judge(o.bin, cluster.start_alone(), o.tokens)
    for i in range(cluster.count):
        cluster.start(i)
    cluster.await_all()
    bad = [f"before the first fault: {x}" for x in [cluster.await_peace()] if x]
    for prompt in range(len(soak_clients.PROMPTS)):
        judge.right(prompt)
    pulse = soak_clients.Pulse()
    load = soak_clients.Load(o, [cluster.endpoint(i) for i in range(cluster.count)], judge.ids)
    records, zero = [], time.monotonic()
    if o.keep:
        tell = lambda a: cluster.keep_state(f"pause-{time.monotonic() - zero:.2f}-n{a.endpoints[0]}")  # noqa: E731
        threading.Thread(target=load.watch, args=(PAUSE_S, tell), daemon=True).start()
    try:
        records, zero = bring_all(cluster, plan, o)
    except RuntimeError as problem:
        bad.append(str(problem))
    cluster.measure()
    answers = load.end()
    missed = pulse.end()
    bad += [x for x in [cluster.await_peace()] if x] + cluster.crashes
    if o.keep:
        cluster.keep_state("end")
    lines, bad = report(judge, answers, records, zero, cluster, o, bad)
    if missed:
        longest = max(b - a for a, b in missed)
        lines.append(f"the machine stood still {len(missed)} times, at most {longest:.2f} s: times of pauses say little")
    return lines, bad


def report(judge, answers, records, zero, cluster, o, bad):
    wrong = [(a, why) for a in answers if (why := judge.wrong(a))]
    lost = [(a, a.problem) for a in answers if a.problem]
    good = len(answers) - len({id(a) for a, _ in wrong + lost})
    lines = [f"{good} answers good, {len(wrong)} wrong, {len(lost)} lost; {len(records)} faults; {judge.ties} times either of "
             f"two tokens was right, at most {judge.widest:.4f} apart", *soak_report.pause_table(answers, records),
             *soak_report.long_pauses(answers, records, zero, PAUSE_S), *soak_report.growth(cluster.sizes)]
    for what, found in (("wrong", wrong), ("lost", lost)):
        bad += [f"{what} ({a.client}, asked n{a.endpoints[0]} at {a.begun - zero:.1f} s, {len(a.tokens)} tokens, ended at "
                f"{a.ended - zero:.1f} s): {why}; {soak_report.around(a, records, zero)}" for a, why in found]
    if not good:
        bad.append("no answer was good")
    deaths = soak_report.death_pauses(answers, records)
    if o.assert_pause and not deaths:
        bad.append("no helper died in the middle of an answer: the soak was too short to say anything of it")
    if o.assert_pause and deaths and soak_report.percentile(deaths, 99) >= PAUSE_S:
        bad.append(f"after a helper's death 99 % of pauses are below {soak_report.percentile(deaths, 99):.3f} s only")
    return lines, bad


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))   # by way of everything that is to be ended
    o = read_options()
    kinds = soak_plan.kinds_of(o.nodes, forwarder=not o.lab)
    if o.only and not set(o.only.split(",")) <= set(kinds):
        sys.exit(f"soak: --only takes some of {', '.join(kinds)}")
    plan = soak_plan.make_plan(o.seed, o.nodes, o.seconds, o.only.split(",") if o.only else kinds)
    if not o.plan and not o.lab:
        go_alone()
    print(f"soak: seed {o.seed}, {o.nodes} nodes, {len(plan)} faults", *plan, sep="\n", flush=True)
    if o.plan:
        return
    with tempfile.TemporaryDirectory(prefix="coel-soak-") as folder:
        network = (soak_cluster.Lab(o.nodes, *o.lab.split(",")) if o.lab
                   else soak_cluster.Loopback(o.nodes, bool(os.environ.get(ALONE))))
        cluster = soak_cluster.Cluster(pathlib.Path(folder), network, o)
        try:
            lines, bad = soak(cluster, plan, o)
        except RuntimeError as problem:   # a node that does not start
            lines, bad = [], [str(problem)]
        finally:
            cluster.end()
            if o.keep:
                shutil.copytree(folder, o.keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock", "state*"))
    print(*lines, sep="\n")
    for problem in bad:
        print(f"soak, seed {o.seed}: {problem}", file=sys.stderr)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
