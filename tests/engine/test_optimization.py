import math

import pytest
import torch
from factories import training
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from regression import CountsReads
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lat.core.errors import InputError
from lat.engine.optimization import build_average, build_optimizer, clip_gradients, learning_rate_at
from lat.engine.runtime import gradient_scaler


def rates(steps, **changes):
    settings = training(steps=100, learning_rate=0.8, **{"warmup_steps": 20, **changes})
    return [learning_rate_at(settings, step) for step in steps]


def test_warm_up_then_half_a_cosine():
    # Warm-up rises by 0.8 / 20 = 0.04 a step; the cosine starts at step 20 and is half way down at step 60, since
    # 20 + (100 - 20) / 2 = 60; at step 40 it is a quarter of the way: 0.4 (1 + cos 45°).
    assert rates([0, 9, 19, 20]) == pytest.approx([0.04, 0.4, 0.8, 0.8])
    assert rates([40, 60, 100]) == pytest.approx([0.4 * (1 + math.sqrt(0.5)), 0.4, 0.0])
    assert 0 < rates([99])[0] < 0.001


def test_constant_and_multistep():
    assert rates([0, 19, 50, 99], schedule="constant") == pytest.approx([0.04, 0.8, 0.8, 0.8])
    steps = [0, 69, 70, 89, 90, 99]
    expected = [0.04, 0.8, 0.08, 0.08, 0.008, 0.008]
    assert rates(steps, schedule="multistep") == pytest.approx(expected)


def test_a_short_run_warms_up_for_at_most_half_of_it():
    assert rates([0, 49, 50], warmup_steps=500) == pytest.approx([0.8 / 50, 0.8, 0.8])
    assert rates([0], warmup_steps=0) == pytest.approx([0.8])
    assert learning_rate_at(training(steps=1, learning_rate=0.8), 0) == pytest.approx(0.8)


def test_norms_and_biases_do_not_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[3].weight.requires_grad_(False)
    for name in ("adamw", "sgd"):
        optimizer = build_optimizer(model, training(optimizer=name, weight_decay=0.3))
        decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert {n: decay.get(id(p)) for n, p in model.named_parameters()} == {
            "0.weight": 0.3,
            "0.bias": 0.0,
            "1.weight": 0.0,
            "1.bias": 0.0,
            "2.weight": 0.0,
            "2.bias": 0.0,
            "3.weight": None,
            "3.bias": 0.0,
        }


def test_the_average_covers_float_buffers_and_copies_whole_numbers():
    model = nn.BatchNorm1d(1)
    model.register_buffer("table", torch.tensor([7, 9]))
    average = build_average(model, 0.9)
    for value in (1.0, 2.0):
        model.running_mean.fill_(value)
        model.num_batches_tracked.fill_(int(value))
        average.update_parameters(model)
    assert average.module.running_mean.item() == pytest.approx(0.9 * 1 + 0.1 * 2)
    assert average.module.num_batches_tracked.item() == 2
    assert average.module.table.tolist() == [7, 9]
    assert build_average(model, 0.0) is None


def test_the_average_is_that_of_pytorch():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2).double())
    own, reference = build_average(model, 0.7), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7), use_buffers=True)
    for _ in range(3):
        for tensor in (*model.parameters(), model[1].running_mean):
            tensor.data.normal_()
        own.update_parameters(model)
        reference.update_parameters(model)
    assert own.state_dict().keys() == reference.state_dict().keys()
    assert all(torch.equal(tensor, reference.state_dict()[name]) for name, tensor in own.state_dict().items())


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_one_kernel_updates_as_many_do(name):
    models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, is_fused in zip(models, (False, True), strict=True):
        optimizer = build_optimizer(model, training(optimizer=name, learning_rate=0.1), is_fused=is_fused)
        for step in (1.0, 2.0):
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, step)
            optimizer.step()
    torch.testing.assert_close(models[0].weight, models[1].weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("checkpoint_every", 0),
        ("log_every", -1),
        ("optimizer", "adam"),
        ("schedule", "linear"),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("weight_decay", -1.0),
        ("warmup_steps", -1),
        ("gradient_clip", -0.1),
    ],
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(InputError, match=rf"^{field}: is .*; (must be|choose one of)"):
        training(**{field: value})


def test_a_further_training_has_a_share_of_the_steps_and_of_the_learning_rate():
    first = training(steps=10, learning_rate=0.5, log_every=7, ema_decay=0.9)
    assert first.scaled(0.25, 0.5) == training(steps=2, learning_rate=0.25, log_every=7, ema_decay=0.9)
    assert first.scaled(0.01, 1.0).own.steps == 1


def steps_of_16_mixed(name, clip, is_fused):
    """Weights after seven steps of which the first and the fourth overflow, the scale, and how many numbers were read."""
    torch.manual_seed(0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, growth_interval=2)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
    chosen = training(optimizer=name, learning_rate=0.1, weight_decay=0.1)
    module, optimizer = fabric.setup(model, build_optimizer(model, chosen, is_fused=is_fused))
    norms = []
    with CountsReads() as counted:
        for step in range(7):
            optimizer.zero_grad()
            loss = module(torch.full((2, 4), 0.1 * (step + 1))).float().square().mean()
            fabric.backward(loss * (1e38 if step in (0, 3) else 1.0))
            norms.append(clip_gradients(optimizer.optimizer, clip, gradient_scaler(fabric)))
            optimizer.step()
    assert [not norm.isfinite() for norm in norms] == [True, False, False, True, False, False, False]
    return model.state_dict(), scaler.get_scale(), counted.reads


@pytest.mark.parametrize("clip", [0.5, math.inf])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_fused_step_of_16_mixed_reads_no_number_and_leaves_out_what_overflows(name, clip):
    # The scale begins at 2^8, is halved by each overflow, and doubled after two steps without one.
    wanted, scale, reads = steps_of_16_mixed(name, clip, is_fused=False)
    assert scale == 2.0**8
    assert reads >= 7
    found, scale, reads = steps_of_16_mixed(name, clip, is_fused=True)
    assert (scale, reads) == (2.0**8, 0)
    for weight, other in zip(found.values(), wanted.values(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-5, atol=1e-6)


def test_fused_sgd_takes_up_a_parameter_that_had_no_gradient_at_first():
    model = nn.ModuleList([nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)])
    optimizer = build_optimizer(model, training(optimizer="sgd", learning_rate=0.5, weight_decay=0.0), is_fused=True)
    before = model[1].weight.detach().clone()
    model[0].weight.grad = torch.ones(1, 2)
    optimizer.step()
    model[1].weight.grad = torch.ones(1, 2)
    optimizer.step()
    torch.testing.assert_close(model[1].weight.detach(), before - 0.5)
