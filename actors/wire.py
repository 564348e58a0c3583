"""Messages as bytes.

Ray looks into every argument and result that is not bytes, for object references and for what only
cloudpickle can pickle; for our small frozen messages that costs a third of a call. So what has no
references in it goes as bytes that we pickle ourselves, and `load` takes both forms.
"""

from __future__ import annotations

import copyreg
import pickle
from dataclasses import fields
from operator import attrgetter
from typing import Any

from .core import commands as cmd
from .core import events as ev
from .core.model import Fence, StoreOptions
from .parcel import Parcel
from .readings import Reading, Readings, ReadMany


def dump(message: Any) -> Any:
    """The message as bytes; itself where it carries references, which only Ray may pass on."""
    carrier = getattr(message, "payload", message)
    if isinstance(carrier, Parcel | Readings) and not carrier.is_plain:
        return message
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def load(message: Any) -> Any:
    """The inverse of `dump`. Only for what came from our own actors and clients."""
    return pickle.loads(message) if isinstance(message, bytes) else message


def _pickle_by_position(kind: type[Any]) -> None:
    """A frozen dataclass with slots is pickled by a loop over its fields in Python; as the arguments of its
    constructor it takes half the time."""
    values = attrgetter(*(field.name for field in fields(kind)))
    copyreg.pickle(kind, lambda message: (kind, values(message)))


for _kind in (
    *(cmd.PutMany, cmd.CopyMany, cmd.DropMany, cmd.MarkMany, cmd.UpdateMany, cmd.Located, cmd.Reply),
    *(ev.StoreMany, ev.DeleteMany, ev.LocateMany, ev.MoveMany, ev.UpdateKeys, ev.Done),
    *(Fence, StoreOptions, Parcel, ReadMany, Reading, Readings),
):
    _pickle_by_position(_kind)
