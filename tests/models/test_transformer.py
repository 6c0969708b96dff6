"""Tests of attention beyond the contract: how far a window reaches."""

import torch

from tallystick.models.attention import WindowCache


def test_a_window_is_its_last_tokens():
    """Compare with the sum over the visible keys, written out."""
    window, length = 4, 10
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, length, 2, 8, generator=generator).unbind(0)
    old = torch.zeros(1, window - 1, 2, 8)
    cache = WindowCache(torch.zeros(1, dtype=torch.int64), window - 1, query[..., 0, 0], None, None, rotated=0)
    seen_BLD, key_BTHP, _ = cache.attend(query, key, value, old, old)
    for i in range(length):
        sees = slice(max(0, i - window + 1), i + 1)
        weights_HT = (torch.einsum("hp,thp->ht", query[0, i], key[0, sees]) / 8**0.5).softmax(-1)
        torch.testing.assert_close(seen_BLD[0, i], torch.einsum("ht,thp->hp", weights_HT, value[0, sees]).flatten())
    torch.testing.assert_close(key_BTHP, key[:, 1 - window :])
