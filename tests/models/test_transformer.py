"""What the contract does not say of attention: how far a window reaches."""

import torch

from tallystick import models


def test_a_layer_of_mistral_sees_a_window():
    torch.manual_seed(0)
    model = models.build("mistral", vocab_size=11, n_layer=1, window=4)
    ids_BL = torch.randint(11, (1, 20))
    other_BL = ids_BL.clone()
    other_BL[0, 6] = (ids_BL[0, 6] + 1) % 11
    changed_L = (model(ids_BL)[0] != model(other_BL)[0]).any(-1)[0]
    assert changed_L.nonzero()[:, 0].tolist() == [6, 7, 8, 9]
