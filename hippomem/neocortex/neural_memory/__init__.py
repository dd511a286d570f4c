"""The neural memory: learns at test time, from feedback, what is useful for which query.

    fast_store.py   modern Hopfield store of (query, useful passage) pairs: every event, at once, exactly
    experts.py      how much each expert of the ranking is worth here
    slow_map.py     a map under the Titans rule (titans.py, networks.py), taught by replay; a chain of them
    plasticity.py   contexts.py   rules that protect what it knows;  dampening.py   and let it forget
    memory.py       all of it together, and the replay interface

For a scheduler, `NeuralMemory` (held by `hippomem.feedback.Learning`, which also writes what it did to the log):

    draw(budget, rng) -> [number]              events to rehearse, by surprise; `surprise(numbers)` gives the losses
    rehearse(numbers, interferers=2, guard=…)  -> Rehearsal: kept or rolled back, losses, the guard's recall, absorbed
    probe(numbers) -> [Probe]                  measured recall of each event by its own cue: rank, loss, found
    snapshot() -> MapState;  rollback(state)   all that rehearsals change

Numbers are those of learning events; `Learning.events_of(passage_ids)` gives them for passages, and `Learning.renew()`
rebuilds the slow map from the log where it is only dampened for what was forgotten.
"""

from hippomem.neocortex.neural_memory.association import Association, Reading, Vote
from hippomem.neocortex.neural_memory.memory import MapState, NeuralMemory, Probe, Rehearsal
from hippomem.neocortex.neural_memory.slow_map import Chain, MapOptions, SlowMap
from hippomem.neocortex.neural_memory.titans import Gates

__all__ = [
    "Association",
    "Chain",
    "Gates",
    "MapOptions",
    "MapState",
    "NeuralMemory",
    "Probe",
    "Reading",
    "Rehearsal",
    "SlowMap",
    "Vote",
]
