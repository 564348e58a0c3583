"""Messages as bytes.

Ray looks into every argument and result that is not bytes, for object references and for what only
cloudpickle can pickle; for our small frozen messages that costs a third of a call. So what has no
references in it goes as bytes that we pickle ourselves, and `load` takes both forms.
"""

from __future__ import annotations

import pickle
from typing import Any

from .parcel import Parcel
from .readings import Readings


def dump(message: Any) -> Any:
    """The message as bytes; itself where it carries references, which only Ray may pass on."""
    carrier = getattr(message, "payload", message)
    if isinstance(carrier, Parcel | Readings) and not carrier.is_plain:
        return message
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def load(message: Any) -> Any:
    """The inverse of `dump`. Only for what came from our own actors and clients."""
    return pickle.loads(message) if isinstance(message, bytes) else message
