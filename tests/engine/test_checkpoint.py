from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from lat.core.errors import InputError
from lat.engine.checkpoint import load_checkpoint, save_checkpoint


def test_there_and_back(tmp_path):
    content = {
        "kind": "detector",
        "settings": {"size": 3, "share": 0.5, "name": "a", "none": None, "flag": True, "pair": (1, [2])},
        "model": OrderedDict(nn.Linear(2, 2).state_dict()),
        5: "number keys",
    }
    save_checkpoint(tmp_path / "new" / "model.pt", content)
    loaded = load_checkpoint(tmp_path / "new" / "model.pt", "detector")
    assert list(loaded) == list(content)
    assert loaded["settings"] == content["settings"]
    assert loaded[5] == "number keys"
    assert all(torch.equal(loaded["model"][name], tensor) for name, tensor in content["model"].items())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.pt"]


def test_equal_content_gives_equal_bytes(tmp_path):
    word, base = "some words", torch.arange(12.0)
    shared = [1, 2]
    once = {"kind": "a", "words": [word, word], "lists": (shared, shared), "x": base[:3].clone(), "y": base[4:8].clone()}
    again = {
        "kind": "".join(["a"]),
        "words": ["".join(["some ", "words"]), word],
        "lists": ([1, 2], shared),
        "x": base[:3],
        "y": base.view(3, 4)[1].requires_grad_(),
    }
    save_checkpoint(tmp_path / "once.pt", once)
    save_checkpoint(tmp_path / "again.pt", again)
    assert (tmp_path / "once.pt").read_bytes() == (tmp_path / "again.pt").read_bytes()


def test_a_view_is_saved_without_the_rest_of_its_memory(tmp_path):
    save_checkpoint(tmp_path / "a.pt", {"kind": "a", "x": torch.zeros(1_000_000)[:3]})
    assert (tmp_path / "a.pt").stat().st_size < 5_000


@pytest.mark.parametrize("value", [Path("a"), {1}, object(), torch.float32])
def test_only_tensors_and_plain_types_are_saved(tmp_path, value):
    with pytest.raises(TypeError, match=r"checkpoint\.settings\[1\] is a "):
        save_checkpoint(tmp_path / "a.pt", {"kind": "a", "settings": [0, value]})
    assert not list(tmp_path.iterdir())


class Dangerous:
    def __reduce__(self):
        return (print, ("code from a checkpoint was run",))


def test_what_is_no_checkpoint_is_named(tmp_path, capsys):
    save_checkpoint(tmp_path / "detector.pt", {"kind": "detector"})
    whole = (tmp_path / "detector.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    torch.save({"kind": "detector", "x": Dangerous()}, tmp_path / "dangerous.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, what in [
        ("missing", "there is no such checkpoint; train the label transfer first"),
        ("half", "cannot be read as a checkpoint"),
        ("empty", "cannot be read as a checkpoint"),
        ("text", "cannot be read as a checkpoint"),
        ("dangerous", "cannot be read as a checkpoint"),
        ("list", "is not a checkpoint of lat"),
        ("detector", "contains a detector; choose a checkpoint that contains a label transfer"),
    ]:
        with pytest.raises(InputError, match=rf"{name}\.pt: {what}"):
            load_checkpoint(tmp_path / f"{name}.pt", "label_transfer")
    assert capsys.readouterr().out == ""
