"""Run by test_processes.py, alone or by torchrun: three updates of every objective, in double precision.

The network is in double precision, where sums that are formed in another order hardly ever push an activation
over a ReLU's edge, so that one process and two must end with the same weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.training.batches import SIDE, make_batch, make_context, make_network
from training.adversarial_set import AdversarialSet
from training.batch_norm import share_batch_norm
from training.objectives import settings as of
from training.objectives.build import build_objective
from training.objectives.clead_static import CleadStatic
from training.perturbation import Attack
from training.phase import Phase
from training.processes import Processes, started_processes
from training.recipe import Optimiser

COUNT = 8
OBJECTIVES: dict[str, of.ObjectiveSettings] = {
    "pgd_at": of.PgdAtSettings(),
    "trades": of.TradesSettings(),
    "mart": of.MartSettings(),
    "clead_static": of.CleadStaticSettings(projection=8, surrogate="none"),
    "clead": of.CleadSettings(projection=8, positives="label"),
    "clead-climbs-sum": of.CleadSettings(projection=8, climb="sum"),
    "clead_simultaneous": of.CleadSimultaneousSettings(projection=8),
    "ascl": of.AsclSettings(projection=8),
    "rsupcon": of.RSupConSettings(projection=8),
}


def _stored() -> AdversarialSet:
    """Noise: any images will do."""
    levels = torch.randint(256, (COUNT, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(2))
    return AdversarialSet("", levels.to(torch.uint8), torch.arange(COUNT).flip(0))


def trained(settings: of.ObjectiveSettings, processes: Processes) -> dict[str, Tensor]:
    """The network and all that belongs to it after three updates, with averaging and weight perturbation."""
    network = make_network().double()
    if processes.count > 1:
        share_batch_norm(network, processes)
    # Smooth steps: the sign of a value close to zero may turn by rounding.
    attack = Attack(norm="l2", eps=0.5, step_size=0.2, steps=2)
    context = make_context(network, attack, count=COUNT, processes=processes)
    objective = build_objective(settings, context)
    objective.modules.double()
    if isinstance(objective, CleadStatic):
        objective.adversarial = _stored()
    optimiser = Optimiser(batch_size=COUNT, average=0.9, weight_perturbation=0.01)
    phase = Phase("optimiser", optimiser, objective, network, steps=3, processes=processes)
    for step in range(3):
        phase.step(make_batch(COUNT, processes=processes, double=True), step)
    return {**phase.tensors(), **network.state_dict()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with started_processes(torch.device("cpu")) as processes:
        for name, settings in OBJECTIVES.items():
            tensors = trained(settings, processes)
            if processes.rank == 0:
                save_file(
                    {key: value.contiguous() for key, value in tensors.items()},
                    Path(sys.argv[1]) / f"{name}-{processes.count}.safetensors",
                )
