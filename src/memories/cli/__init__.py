"""The command line: one module a group of commands, loaded when one of them runs.

Exit codes, for scripts:

==== ==================================================================================================
0    fine
1    the command failed, or found a problem; the message says which
2    it was called wrongly: an unknown option, a bad key, a value that cannot be
3    there is no cluster: no Ray, or no cluster of that name in it, or another version of Memories
4    what was asked for is not there: a key, a snapshot, a replay buffer
5    no answer in time, or a value that cannot be reached now: trying again later may help
130  interrupted with Ctrl-C
==== ==================================================================================================
"""

from __future__ import annotations

import click

from .. import __version__
from .group import LazyCommands

main = LazyCommands(
    name="memories",
    help="""Memory for learning systems on a Ray cluster.

    \b
    Examples:
      memories doctor
      memories status
      memories put features/train train.npy
      memories ls features/ --json

    Commands that need a cluster never start one: `memories.connect()` in Python does. They look for the
    Ray of --address, else of $RAY_ADDRESS, else of this machine.

    \b
    Exit codes:
      0  fine                          3  there is no cluster
      1  failed, or found a problem    4  a key, snapshot or buffer is not there
      2  called wrongly                5  no answer in time; try again
    """,
    modules={
        "completion": "completion",
        "dashboard": "dashboard",
        "declare-gone": "disks",
        "demo": "demo",
        "doctor": "doctor",
        "down": "down",
        "get": "values",
        "ls": "keys",
        "put": "values",
        "query": "keys",
        "replay": "replay",
        "rm": "keys",
        "snapshot": "snapshots",
        "status": "status",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
click.version_option(__version__, prog_name="memories")(main)
