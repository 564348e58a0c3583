"""Writers: from a stream of environment steps to the rows that a replay buffer stores.

They talk to a sink, anything with ``add_batch(columns)``: a buffer of this process or remote shards.
"""

from .batching import BatchWriter
from .columns import Sink
from .episode import EpisodeWriter
from .hindsight import Hindsight
from .nstep import NStepWriter, n_step_windows

__all__ = ["BatchWriter", "EpisodeWriter", "Hindsight", "NStepWriter", "Sink", "n_step_windows"]
