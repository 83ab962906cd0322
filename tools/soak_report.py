"""What a soak has shown: answers, pauses after each kind of fault, growth."""
import collections

TAIL_S = 2.0       # after a fault's end: what the way back costs
ENDS_HOME = {"kill", "power", "leave", "stop", "slow-cpu"}   # a client may go elsewhere: from then on its home is unknown
DEATHS = {"kill", "power"}
MOST_LINES = 30


def homes(answer, records, until):
    """The nodes that may be the answer's home at that time: the first it asks, and the others once a fault may have
    driven it away."""
    for r in records:
        away = {node for node, kind in r.fault.hurts if kind in ENDS_HOME}
        if answer.endpoints[0] in away and r.begun < until and r.ready > answer.begun:
            return set(answer.endpoints)
    return {answer.endpoints[0]}


def pauses(answers, records):
    """{(kind, role): [seconds]}: of each fault and each answer that was under way, the longest time without a token that
    began or went on while the fault lasted or within TAIL_S of its end."""
    out = collections.defaultdict(list)
    for n, r in enumerate(records):
        until = r.over + TAIL_S
        if n + 1 < len(records):
            until = min(until, records[n + 1].begun)
        for a in answers:
            gaps = [end - max(begin, r.begun) for begin, end in a.gaps() if end > r.begun and begin < until]
            if not gaps or a.begun > until:
                continue
            out[r.fault.kind, role(a, r, records)].append(max(gaps))
    return out


def role(answer, record, records):
    possible = homes(answer, records, record.begun)
    if not record.victims & possible:
        return "helper"
    return "home" if possible <= record.victims else "either"


def calm(answers, records):
    """Seconds between tokens while nothing was hurt."""
    bad = [(r.begun, max(r.over + TAIL_S, r.ready)) for r in records]
    return [end - begin for a in answers for begin, end in a.gaps()[1:]
            if not any(begin < b[1] and end > b[0] for b in bad)]


def percentile(sorted_values, share):
    """The nearest rank: a value that occurred."""
    return sorted_values[max(0, -(-len(sorted_values) * share // 100) - 1)]


def long_pauses(answers, records, zero, least):
    """Of the answers' gaps those of at least so many seconds, with the fault before."""
    found = [(begin, end, a) for a in answers for begin, end in a.gaps() if end - begin >= least]
    longest = sorted(found, key=lambda x: x[0] - x[1])[:MOST_LINES]
    lines = []
    for begin, end, a in sorted(longest, key=lambda x: x[0]):
        what = "no fault yet"
        for r in records:
            if r.begun < end:
                what = f"{r.fault.name()} at {r.begun - zero:.1f} to {r.over - zero:.1f} s"
        lines.append(f"  {begin - zero:7.2f} to {end - zero:7.2f} s: {end - begin:6.2f} s, "
                     f"{a.client}, asked n{a.endpoints[0]}; {what}")
    return [f"pauses of {least:.1f} s or more, {len(lines)} of {len(found)}:", *lines] if lines else []


def row(name, values):
    v = sorted(values)
    return f"{name:<24}{len(v):>7}" + "".join(f"{percentile(v, p):>9.3f}" for p in (50, 95, 99)) + f"{v[-1]:>9.3f}"


def pause_table(answers, records):
    lines = ["longest time without a token, in s, of answers under way when a fault came",
             f"{'fault, of':<24}{'answers':>7}" + "".join(f"{x:>9}" for x in ("median", "95 %", "99 %", "max"))]
    if still := calm(answers, records):
        lines.append(row("none: each token", still))
    for (kind, who), values in sorted(pauses(answers, records).items()):
        lines.append(row(f"{kind}, {who}", values))
    return lines


def death_pauses(answers, records):
    """Of deaths of nodes that only helped."""
    found = pauses(answers, records)
    return sorted(x for (kind, who), values in found.items() if kind in DEATHS and who == "helper" for x in values)


def around(answer, records, zero):
    """Which faults an answer met, and whether the other nodes held every expert."""
    met = [r for r in records if r.begun < answer.ended and r.ready > answer.begun]
    if not met:
        return "no fault at that time"
    covered = {None: "nobody could say whether the others held all experts", 0: "the others held all experts"}
    return "; ".join(f"{r.fault.name()} at {r.begun - zero:.1f} s ("
                     + covered.get(r.uncovered, f"{r.uncovered} experts were held by nobody else") + ")" for r in met)


def growth(sizes):
    """Of the processes that lived longest: memory and open files, early and late."""
    longest = {}
    for (node, _), samples in sizes.items():
        if len(samples) > len(longest.get(node, [])):
            longest[node] = samples
    lines = []
    for node, samples in sorted(longest.items()):
        early, late = samples[len(samples) // 4], samples[-1]
        lines.append(f"n{node} for {late[0] - samples[0][0]:.0f} s: {early[1]:.0f} to {late[1]:.0f} MiB, "
                     f"{early[2]} to {late[2]} open files")
    return lines
