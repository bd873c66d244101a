"""Ask whether a locked dependency has a known vulnerability: pip-audit over requirements.lock, for `make check`.

Without the network there is nobody to ask; that is said, and is no failure. A vulnerability is.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"


def main() -> int:
    """Returns 1 if any package has a known vulnerability, else 0."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip"]
    asked = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(asked.stdout)["dependencies"]
    except ValueError:
        print(f"not audited: {(asked.stderr.strip().splitlines() or ['pip-audit said nothing'])[-1][:200]}")
        return 0
    known = [package for package in packages if "skip_reason" not in package]
    why = "" if known else ": PyPI's advisories can't be had from here"
    print(f"audited {len(known)} of {len(packages)} locked packages{why}")
    found = [(package, flaw) for package in known for flaw in package["vulns"]]
    for package, flaw in found:
        versions = ", ".join(flaw["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {flaw['id']}, mended in {versions}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
