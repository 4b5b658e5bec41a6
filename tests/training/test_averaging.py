import types

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

from openmm_confgf.training.averaging import AveragedWeights


def test_average_follows_fast_at_first_and_slowly_later():
    averaging, module = AveragedWeights(), lightning.LightningModule()
    module.net = nn.Linear(1, 1, bias=False)
    averaging.setup(None, module, "fit")
    values, expected = torch.linspace(3.0, -2.0, 30), None
    for n, value in enumerate(values):
        module.net.weight.data.fill_(value)
        averaging.on_train_batch_end(types.SimpleNamespace(global_step=n + 1), module, None, None, 0)
        decay = min(0.999, (1 + n) / (10 + n))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    torch.testing.assert_close(averaging.weights()["net.weight"].squeeze(), expected)
    assert abs(expected - values[-1]) < 0.2 * abs(values[0] - values[-1])  # with 0.999 from the start it would be 0.99


def test_checkpoints_of_the_average_have_kept_their_name():
    assert AveragedWeights().state_key == EMAWeightAveraging().state_key
