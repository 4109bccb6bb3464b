"""Parts what uv has resolved into two files: `python .ci/lock.py RESOLVED [WHEEL …]`.

requirements.lock is for every machine; requirements.cuda.lock has what torch's CUDA build alone
needs. The builds of torch are different files under one version: its digests are those of the
package index, those of the wheels that are named, and, while the version stays, those of before.
"""

import hashlib
import re
import sys
from pathlib import Path

LOCK, CUDA = Path("requirements.lock"), Path("requirements.cuda.lock")
ONLY_CUDA = ("cuda-", "nvidia-", "triton==")
HEAD = """# Every version, direct or not, for Linux, macOS and Windows. Written by: make lock
# torch: the digests of the package index, and of the builds that BUILD= has named.
"""
HEAD_CUDA = "# What torch's CUDA build needs beside requirements.lock. Written by: make lock\n"


def main() -> None:
    """Writes both files."""
    resolved, *wheels = map(Path, sys.argv[1:])
    blocks = re.findall(r"^\S.*\n(?:^ .*\n)*", resolved.read_text(), re.MULTILINE)
    ours = [block for block in blocks if not block.startswith(ONLY_CUDA)]
    LOCK.write_text(HEAD + "".join(_with_builds(block, wheels) for block in ours))
    CUDA.write_text(HEAD_CUDA + "".join(block for block in blocks if block not in ours))


def _with_builds(block: str, wheels: list[Path]) -> str:
    if not block.startswith("torch=="):
        return block
    first = block.splitlines()[0]
    version = first.split()[0].partition("==")[2]
    old = re.search(rf"^{re.escape(first)}\n(?:^ .*\n)*", LOCK.read_text(), re.MULTILINE)
    digests = set(re.findall("sha256:[0-9a-f]{64}", block + (old[0] if old else "")))
    for wheel in wheels:
        if not re.match(rf"torch-{re.escape(version)}[-+]", wheel.name):
            sys.exit(f"{wheel} is no build of torch {version}")
        digests.add(f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    lines = [first.removesuffix(" \\"), *(f"--hash={digest}" for digest in sorted(digests))]
    return " \\\n    ".join(lines) + "\n"


main()
