#!/usr/bin/env python3
"""Fails on an #include that crosses the house map of docs/architecture.md."""
import pathlib
import re
import sys

ALLOWED = {
    "common": set(),
    "policy": {"common"},
    "compute": {"common"},
    "cpu": {"common", "compute"},
    "gpu": {"common", "compute"},
    "model": {"common", "compute"},
    "net": {"common"},
    "actors": {"common", "policy", "compute", "model", "net"},
}
EVERYTHING = set(ALLOWED)
ALLOWED["apps"] = ALLOWED["bench"] = EVERYTHING
CAF_USERS = {"actors", "apps", "bench", "tests"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def violations(root):
    for folder, may in sorted(ALLOWED.items()):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in {".hpp", ".cpp", ".cu", ".cuh"}:
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                kind, name = match.groups()
                top = name.split("/")[0]
                where = f"{path.relative_to(root)}:{number}"
                if kind == '"' and top in EVERYTHING | {"apps", "bench"} and top != folder and top not in may:
                    yield f"{where}: {folder}/ may not include {top}/ ({name})"
                if kind == "<" and top == "caf" and folder not in CAF_USERS:
                    yield f"{where}: CAF is for actors/ and apps/ only"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    found = list(violations(root))
    checked = sum(1 for f in ALLOWED for p in (root / f).rglob("*") if p.suffix in {".hpp", ".cpp"})
    print("\n".join(found) or f"{checked} files keep to the house map")
    if checked == 0:
        sys.exit("no source files found: wrong folder?")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
