"""Temporal heads are causal and stream, order matters to the recurrent ones alone; model.pt holds data and no code."""

import pickle

import pytest
import torch

from glimpse.features.views import ViewConfig
from glimpse.model.config import ModelConfig
from glimpse.model.heads import build_head
from glimpse.model.model_file import TrainedModel, load_model, save_model

CONFIG = ModelConfig(
    approach="all10", class_names=["a", "b"], num_frames=10, head="lstm", hidden=8,
    views=ViewConfig(160, "motion", True, True), finetune_blocks=0, precision="float32", seed=0, candidates=20,
    frame_size=176, frames=10, sampling="segments", clip_seconds=2.0, best_epoch={"epoch": 3}, temperature=1.5,
    val_confidence=[0.9, 0.4], val_correct=[True, False], versions={"torch": "2"},
)  # fmt: skip
KINDS = ["lstm+mean", "lstm", "gru", "mean", "attention", "ridge"]


def head(kind, feature_dims=(16,)):
    torch.manual_seed(0)
    return build_head(kind, feature_dims, 8, 3, 0.5).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_the_logits_after_a_frame_depend_on_the_frames_so_far(kind):
    network, features = head(kind), torch.randn(2, 6, 16)
    whole = network(features)
    assert whole.shape == (2, 6, 3)
    for frames in (1, 3, 6):
        assert torch.allclose(network(features[:, :frames]), whole[:, :frames], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_read_frame_by_frame_gives_what_the_whole_clip_gives(kind):
    network, features = head(kind), 20 * torch.randn(2, 6, 16)
    state = torch.zeros(2, sum(network.state_sizes.values()))
    for frame, whole in enumerate(network(features).unbind(1)):
        logits, state = network.step(features[:, frame], state)
        assert torch.allclose(logits, whole, atol=1e-5), frame


def test_no_modality_outweighs_another():
    network, features = head("lstm", (16, 16)), torch.randn(2, 6, 32)
    louder = features * torch.tensor([1.0, 100.0]).repeat_interleave(16) + 5
    assert torch.allclose(network(louder), network(features), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_order_matters_to_recurrent_heads_alone(kind):
    network, features = head(kind), torch.randn(2, 6, 16)
    same = torch.allclose(network(features.flip(1))[:, -1], network(features)[:, -1], atol=1e-5)
    assert same == (kind in ("mean", "attention", "ridge"))


def test_joined_heads_have_their_own_losses_and_the_mean_of_their_probabilities():
    network, features = head("lstm+mean"), torch.randn(2, 6, 16)
    network.dropout.p = 0.0
    mean_probabilities = network(features).exp()
    each = network.train()(features)
    assert each.shape == (2, 2, 6, 3)
    assert torch.allclose(mean_probabilities, each.softmax(-1).mean(0), atol=1e-6)
    for number, kind in enumerate(("lstm", "mean")):
        alone = head(kind)
        own = alone.state_dict().keys()
        alone.load_state_dict({name: value for name, value in network.state_dict().items() if name in own})
        assert torch.allclose(alone(features), each[number].log_softmax(-1), atol=1e-6)


def test_attention_of_equal_scores_is_the_mean_and_large_scores_do_not_overflow():
    network, features = head("attention"), torch.randn(2, 6, 16)
    mean = head("mean")
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("attn")}
    renamed = {name.replace("classifier.attention", "classifier.mean"): value for name, value in state.items()}
    mean.load_state_dict(renamed)
    torch.nn.init.zeros_(network.attn.weight)
    assert torch.allclose(network(features), mean(features), atol=1e-6)
    torch.nn.init.constant_(network.attn.weight, 1e4)
    assert network(features).isfinite().all()


def test_what_is_saved_is_loaded_and_its_bytes_do_not_depend_on_the_place(tmp_path):
    for folder in ("one", "two"):
        save_model(tmp_path / folder / f"{folder}.pt", TrainedModel(CONFIG, [], {"w": torch.arange(3.0)}))
    assert (tmp_path / "one/one.pt").read_bytes() == (tmp_path / "two/two.pt").read_bytes()
    loaded = load_model(tmp_path / "one/one.pt")
    assert loaded.config == CONFIG and torch.equal(loaded.head["w"], torch.arange(3.0))


class Harmful:
    """Something that would run code when unpickled."""

    def __reduce__(self):
        return (open, ("harm", "w"))


@pytest.mark.parametrize("make", [
    lambda path: None,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"no model"),
    lambda path: torch.save({"format": 0}, path),
    lambda path: torch.save([1, 2], path),
    lambda path: path.write_bytes(pickle.dumps(Harmful())),
    lambda path: torch.save({"format": 1, "x": Harmful()}, path),
])  # fmt: skip
def test_a_file_that_is_no_model_is_refused_in_one_line_and_nothing_runs(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "model.pt")
    with pytest.raises(SystemExit, match=r"model\.pt") as stop:
        load_model(tmp_path / "model.pt")
    assert "\n" not in str(stop.value) and not (tmp_path / "harm").exists()


def test_a_truncated_model_is_refused(tmp_path):
    save_model(tmp_path / "model.pt", TrainedModel(CONFIG, [], {"w": torch.randn(1000)}))
    (tmp_path / "model.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:2000])
    with pytest.raises(SystemExit, match="not a model of Glimpse, or damaged"):
        load_model(tmp_path / "model.pt")
