"""Other people's packages to measure against, each in a virtual environment of its own.

A peer may have an import name or requirements that clash with ours, so it is never installed beside us:
it is driven in a subprocess by the interpreter that `peer_python` returns.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "peers"


class PeerUnavailable(RuntimeError):
    """The peer could not be installed, most likely for want of a package index."""


def peer_python(name: str, requirement: str, *, share_packages: bool = True, timeout_s: float = 600) -> Path:
    """The interpreter of the environment in which `requirement` is installed; makes it the first time.

    With `share_packages` the peer is installed without its dependencies and sees what is installed here
    (the same torch, say) behind its own. Safe to call from several processes at once.

    Raises:
        PeerUnavailable: pip failed; the message has its output. The next call tries again.
    """
    folder = CACHE / name
    python = folder / "bin" / "python"
    recipe = {"requirement": requirement, "share": share_packages, "python": sys.version}
    done = folder / "installed.json"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and json.loads(done.read_text()) == recipe:
            return python
        venv.create(folder, clear=True, with_pip=False)
        if share_packages:
            packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
            ours = "\n".join(sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
            (packages / "site-packages" / "behind_the_peer.pth").write_text(ours + "\n")
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", requirement]
        if share_packages:
            command.append("--no-deps")
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise PeerUnavailable(f"installing {requirement} took more than {timeout_s:.0f} s") from error
        if result.returncode:
            raise PeerUnavailable(f"pip could not install {requirement}:\n{result.stderr.strip()}")
        done.write_text(json.dumps(recipe))
    return python
