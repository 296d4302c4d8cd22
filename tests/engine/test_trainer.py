import json
import signal

import pytest
import torch
from regression import OFFSET, SLOPE, CountsReads, Line, Points, settings, train_line
from torch import nn

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.engine import step_figures
from lat.engine.checkpoint import load_checkpoint
from lat.engine.sampling import StepSampler
from lat.engine.step_figures import NonFiniteLossError, StepFigures


def log_lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls_to_the_known_optimum(tmp_path):
    model = Line()
    path = train_line(tmp_path, model, Points(), settings(steps=150, learning_rate=0.1, weight_decay=0.0))
    saved = load_checkpoint(path, "line")
    assert saved["classes"] == ["a", "b"]
    torch.testing.assert_close(saved["model"]["linear.weight"], SLOPE, atol=0.02, rtol=0)
    torch.testing.assert_close(saved["model"]["linear.bias"], torch.tensor([OFFSET]), atol=0.02, rtol=0)
    lines = log_lines(tmp_path)
    assert [line["step"] for line in lines] == list(range(5, 151, 5))
    assert lines[-1]["total"] < 0.02 < 1 < lines[0]["total"]
    assert lines[0]["total"] == pytest.approx(lines[0]["square"] + lines[0]["absolute"], rel=1e-5)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_the_result_may_be_a_part_of_the_model(tmp_path):
    whole = load_checkpoint(train_line(tmp_path / "whole", Line(), Points(), settings(steps=5)), "line")["model"]
    part = load_checkpoint(train_line(tmp_path / "part", Line(), Points(), settings(steps=5), result="linear"), "line")["model"]
    assert set(part) == {"weight", "bias"}
    assert all(torch.equal(part[name], whole[f"linear.{name}"]) for name in part)


def test_a_log_line_is_the_mean_of_the_steps_since_the_line_before(tmp_path):
    train_line(tmp_path / "each", Line(), Points(), settings(steps=7, log_every=1))
    train_line(tmp_path / "five", Line(), Points(), settings(steps=7, log_every=5))
    each, five = log_lines(tmp_path / "each"), log_lines(tmp_path / "five")
    assert [line["step"] for line in five] == [5, 7]
    assert five[0]["square"] == pytest.approx(sum(line["square"] for line in each[:5]) / 5, rel=1e-5)
    assert five[1]["square"] == pytest.approx(sum(line["square"] for line in each[5:]) / 2, rel=1e-5)
    assert five[1]["learning_rate"] == each[6]["learning_rate"]


HARD = {"ema_decay": 0.9, "gradient_clip": 0.5}


@pytest.mark.parametrize("served", [0, 13 * 4, 14 * 4, 17 * 4 + 2])
def test_a_run_stopped_and_taken_up_gives_the_same_bytes(tmp_path, served):
    chosen = settings(**HARD)
    train_line(tmp_path / "whole", Line(0.1, True), Points(0.1), chosen)
    with pytest.raises(KeyboardInterrupt):
        train_line(tmp_path / "parts", Line(0.1, True), Points(0.1, stop_at=served), chosen)
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt", "training_run")["step"] == served // 4
    train_line(tmp_path / "parts", Line(0.1, True), Points(0.1), chosen)
    for name in ("model.pt", "log.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


class KilledLine(Line):
    """A model that dies in the middle of step 17, after the run has logged step 15 and saved step 14."""

    calls = 0

    def losses(self, x, y):
        self.calls += 1
        if self.calls == 17:
            self.linear.weight.data.zero_()
            raise self.death
        return super().losses(x, y)


@pytest.mark.parametrize("death", [SystemExit, KeyboardInterrupt])
def test_a_run_killed_within_a_step_goes_on_from_its_last_checkpoint(tmp_path, death):
    chosen = settings(**HARD)
    train_line(tmp_path / "whole", Line(0.1, True), Points(0.1), chosen)
    killed = KilledLine(0.1, True)
    killed.death = death
    with pytest.raises(death):
        train_line(tmp_path / "parts", killed, Points(0.1), chosen)
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt", "training_run")["step"] == 14
    assert log_lines(tmp_path / "parts")[-1]["step"] == 15
    with (tmp_path / "parts" / "log.jsonl").open("a") as file:
        file.write('{"step": 20, "lear')
    train_line(tmp_path / "parts", Line(0.1, True), Points(0.1), chosen)
    for name in ("model.pt", "log.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


class InterruptedLine(Line):
    """A model during one of whose steps the user presses Ctrl-C."""

    calls = 0

    def losses(self, x, y):
        self.calls += 1
        if self.calls == self.interrupted_at:
            signal.raise_signal(signal.SIGINT)
        return super().losses(x, y)


@pytest.mark.parametrize("step", [9, 30])
def test_ctrl_c_waits_for_the_end_of_the_step_and_saves_it(tmp_path, step):
    before = signal.getsignal(signal.SIGINT)
    model = InterruptedLine()
    model.interrupted_at = step
    with pytest.raises(KeyboardInterrupt):
        train_line(tmp_path / "parts", model, Points(), settings())
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt", "training_run")["step"] == step
    assert signal.getsignal(signal.SIGINT) is before
    train_line(tmp_path / "parts", Line(), Points(), settings())
    train_line(tmp_path / "whole", Line(), Points(), settings())
    for name in ("model.pt", "log.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(
    "change",
    [{"chosen": settings(learning_rate=0.02)}, {"seed": 4}, {"inputs": "other"}, {"description": {"kind": "line", "size": 1}}],
)
def test_a_checkpoint_of_another_configuration_is_not_taken_up(tmp_path, capsys, change):
    with pytest.raises(KeyboardInterrupt):
        train_line(tmp_path / "parts", Line(), Points(stop_at=40), settings())
    chosen = change.pop("chosen", settings())
    train_line(tmp_path / "parts", Line(), Points(), chosen, **change)
    assert "starting over" in capsys.readouterr().err
    train_line(tmp_path / "whole", Line(), Points(), chosen, **change)
    for name in ("model.pt", "log.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_workers_do_not_change_the_result(tmp_path):
    for workers in (0, 2):
        train_line(tmp_path / str(workers), Line(0.1), Points(0.1), settings(steps=6), num_workers=workers)
    assert (tmp_path / "0" / "model.pt").read_bytes() == (tmp_path / "2" / "model.pt").read_bytes()


class NotedItems(Points):
    """Points that note what they were asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def item(self, index, generator):
        self.asked.append((index, generator.initial_seed()))
        return super().item(index, generator)


def test_items_are_asked_for_as_the_sampler_draws_them(tmp_path):
    items = NotedItems()
    train_line(tmp_path, Line(), items, settings(steps=12))
    assert items.asked == [tuple(draw) for batch in StepSampler(40, 4, seed=3, steps=range(12)) for draw in batch]


class One(nn.Module):
    """One parameter w with the loss 3 w: its gradient is 3 whatever w is."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0]))

    def losses(self, x, y):
        return {"three": 3 * self.w.sum()}


SGD = {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant", "warmup_steps": 0}


@pytest.mark.parametrize(("clip", "expected"), [(0.0, 1 - 2.9 * 0.3), (0.5, 1 - 2.9 * 0.05), (5.0, 1 - 2.9 * 0.3)])
def test_gradients_are_clipped_to_a_norm(tmp_path, clip, expected):
    # With momentum 0.9 the second step is 1.9 times the first.
    path = train_line(tmp_path, One(), Points(), settings(**SGD, steps=2, gradient_clip=clip))
    assert load_checkpoint(path, "line")["model"]["w"].item() == pytest.approx(expected, abs=1e-6)


def test_the_saved_weights_are_the_moving_average(tmp_path):
    # With momentum 0.9 the steps are 0.3, 0.57 and 0.813, so w is 0.7, 0.13 and -0.683; the average starts at 0.7, then
    # 0.8 * 0.7 + 0.2 * 0.13 = 0.586, then 0.8 * 0.586 - 0.2 * 0.683 = 0.3322.
    model = One()
    path = train_line(tmp_path, model, Points(), settings(**SGD, steps=3, ema_decay=0.8))
    assert load_checkpoint(path, "line")["model"]["w"].item() == pytest.approx(0.3322, abs=1e-6)
    assert model.w.item() == pytest.approx(-0.683, abs=1e-6)


class Diverging(Line):
    """The absolute loss becomes NaN in the tenth step, or only its gradient does."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.calls = hidden, 0

    def losses(self, x, y):
        self.calls += 1
        losses = super().losses(x, y)
        if self.calls == 10:
            zero = 0 * self.linear.weight.sum()
            losses["absolute"] = losses["absolute"] + (zero.abs().sqrt() if self.hidden else zero / 0)
        return losses


@pytest.mark.parametrize(("hidden", "named"), [(False, "absolute = nan"), (True, "gradient norm = nan")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_parts(tmp_path, hidden, named):
    with pytest.raises(NonFiniteLossError, match="line, step 10") as caught:
        train_line(tmp_path, Diverging(hidden), Points(), settings())
    assert named in str(caught.value)
    assert "square = " in str(caught.value)
    saved = load_checkpoint(tmp_path / "checkpoint.pt", "training_run")
    assert saved["step"] == 7
    assert all(torch.isfinite(tensor).all() for tensor in saved["model"].values())
    assert not (tmp_path / "model.pt").exists()


@pytest.fixture
def read_together(monkeypatch):
    """Losses are read as from a device, after every fourth step, or with a line of the log or a checkpoint; counts readings."""
    steps, read = [], StepFigures.read

    def noted(figures, *, asked):
        steps.append(figures._first_step + len(figures))
        return read(figures, asked=asked)

    monkeypatch.setattr(step_figures, "steps_between_reads", lambda device: 4)
    monkeypatch.setattr(StepFigures, "read", noted)
    return steps


def test_losses_that_are_read_together_give_the_same_bytes(tmp_path, read_together, monkeypatch):
    train_line(tmp_path / "some", Line(0.1, True), Points(0.1), settings(steps=23, log_every=10, **HARD))
    assert read_together == [4, 7, 8, 10, 12, 14, 16, 20, 21, 23]
    monkeypatch.setattr(step_figures, "steps_between_reads", lambda device: 1)
    train_line(tmp_path / "each", Line(0.1, True), Points(0.1), settings(steps=23, log_every=10, **HARD))
    for name in ("model.pt", "log.jsonl"):
        assert (tmp_path / "some" / name).read_bytes() == (tmp_path / "each" / name).read_bytes(), name


@pytest.mark.parametrize("served", [13 * 4, 17 * 4 + 2])
def test_a_run_stopped_between_two_readings_gives_the_same_bytes(tmp_path, read_together, served):
    test_a_run_stopped_and_taken_up_gives_the_same_bytes(tmp_path, served)


def test_ctrl_c_is_heard_at_once_though_losses_are_read_together(tmp_path, read_together):
    test_ctrl_c_waits_for_the_end_of_the_step_and_saves_it(tmp_path, 9)


class Falling(Diverging):
    """It cannot go on with weights that are no numbers."""

    def losses(self, x, y):
        if not self.linear.weight.isfinite().all():
            raise ValueError("matrix contains invalid numeric entries")
        return super().losses(x, y)


@pytest.mark.parametrize("model", [Diverging(False), Diverging(True), Falling(False)])
def test_the_first_step_that_is_not_finite_is_named_though_it_is_read_later(tmp_path, read_together, model):
    with pytest.raises(NonFiniteLossError, match=r"line, step 10: .*nan"):
        train_line(tmp_path, model, Points(), settings(log_every=100))
    assert load_checkpoint(tmp_path / "checkpoint.pt", "training_run")["step"] == 7
    assert model.calls == (10 if isinstance(model, Falling) else 12)
    assert not (tmp_path / "model.pt").exists()


class FrozenPart(Line):
    """A model whose first part stays in evaluation mode and keeps its weights."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.BatchNorm1d(2).requires_grad_(False)
        self.train()

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def losses(self, x, y):
        assert self.linear.training
        assert not self.backbone.training
        return super().losses(self.backbone(x + 5), y)


def test_frozen_parts_stay_frozen(tmp_path):
    model = FrozenPart().eval()
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    path = train_line(tmp_path, model, Points(), settings(steps=3, ema_decay=0.5))
    for name, tensor in before.items():
        assert torch.equal(load_checkpoint(path, "line")["model"][f"backbone.{name}"], tensor)


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_step_reads_no_number_but_its_losses(tmp_path, clip):
    # The losses come together, in one list. The sampler's order and the average's counter lie on the CPU on any machine: a
    # step of four items reads five numbers of theirs.
    reads = {}
    for steps in (2, 7):
        with CountsReads() as counted:
            model, chosen = Line(statistics=True), settings(steps=steps, ema_decay=0.9, gradient_clip=clip, optimizer="sgd")
            train_line(tmp_path / str(steps), model, Points(), chosen)
        reads[steps] = counted.reads
    assert reads[7] - reads[2] == 5 * (4 + 1)


class BoxItems(Points):
    """Points with boxes, in a frozen structure, whose coordinates 16 bits cannot hold."""

    def collate(self, items):
        boxes = LabeledBoxes(torch.tensor([[0.5, 0.5, 1001.5, 1001.5]]), torch.tensor([0]), LabelSpace.from_names("a", ["b"]))
        return *super().collate(items), [boxes] * len(items)


class SeesBoxes(Line):
    """Notes which coordinates come, and in which precision the matrix product runs."""

    def losses(self, x, y, boxes):
        self.seen = (x.dtype, boxes[0].boxes_xyxy.tolist(), self.linear(x).dtype)
        return super().losses(x, y)


@pytest.mark.parametrize(("precision", "computed"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_mixed_precision_leaves_the_inputs_alone(tmp_path, precision, computed):
    model = SeesBoxes()
    path = train_line(tmp_path, model, BoxItems(), settings(steps=3), precision=precision)
    assert model.seen == (torch.float32, [[0.5, 0.5, 1001.5, 1001.5]], computed)
    assert load_checkpoint(path, "line")["model"]["linear.weight"].dtype == torch.float32


def test_tensorboard_shows_the_same_figures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    killed = KilledLine()
    killed.death = SystemExit
    with pytest.raises(SystemExit):  # after writing the figures of step 15, from which the next run goes back to step 14
        train_line(tmp_path, killed, Points(), settings(trackers=["tensorboard"]))
    train_line(tmp_path, Line(), Points(), settings(trackers=["tensorboard"]))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("square")
    shown = [(event.step, pytest.approx(event.value, rel=1e-5)) for event in events]
    assert shown == [(line["step"], line["square"]) for line in log_lines(tmp_path)]


def test_what_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(InputError, match="no trainable parameter"):
        train_line(tmp_path, Line().requires_grad_(False), Points(), settings())

    class Nothing(Points):
        def __len__(self):
            return 0

    with pytest.raises(InputError, match="nothing to train on"):
        train_line(tmp_path, Line(), Nothing(), settings())


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(InputError, match=r"checkpoint\.pt.*delete it"):
        train_line(tmp_path, Line(), Points(), settings())
