"""One thread: with two, a busy machine of two cores takes ten times as long over small tensors."""

import torch

torch.set_num_threads(1)
