"""Stages `train-first5` and `train-all10`: train one approach on the train split, choose its best epoch on val.

Reads data/split.csv, data/clips.csv, data/features.npy, and data/frames/ if the backbone is finetuned. Writes
models/<approach>/model.pt, which holds all that prediction needs, and history.csv. Run: python src/train.py first5
"""

from glimpse.core.stage import run_stage, stage_parser


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("approach", choices=["first5", "all10"])
    approach = parser.parse_args().approach

    from pathlib import Path

    import pandas as pd

    from glimpse.core.files import write_table
    from glimpse.core.settings import read_settings
    from glimpse.core.splits import load_splits
    from glimpse.features.extractor import versions
    from glimpse.features.views import ViewConfig
    from glimpse.model.calibration import calibrate
    from glimpse.model.config import ModelConfig
    from glimpse.model.model_file import TrainedModel, save_model
    from glimpse.train.build_trainer import build_trainer, median_seconds, trained_weights
    from glimpse.train.checkpoint import Checkpoint, training_code
    from glimpse.train.datasets import UNLIMITED_VIEWS, FrameSampler

    settings = read_settings()
    features, model = settings.features, settings.model
    class_names, splits = load_splits(["train", "val"])
    train, val = splits["train"], splits["val"]
    finetune, augmented_views = model.finetune_blocks > 0, features.augmented_views
    sampler = FrameSampler(
        candidates=settings.candidates,
        frames=settings.frames,
        num_frames=settings.num_frames(approach),
        sampling=settings.sampling,
        augmented_views=UNLIMITED_VIEWS if finetune and augmented_views else augmented_views,
        resample_each_epoch=settings.resample_each_epoch,
        seed=settings.seed,
    )
    trainer = build_trainer(sampler, class_names, features, model, settings.train)
    sizes = f"{len(train.clips)} train clips, {len(val.clips)} val clips"
    print(
        f"train-{approach}: {sampler.num_frames} of {sampler.frames} frames, {sizes}, on {trainer.device.type}",
        flush=True,
    )
    inputs = sorted(Path("data/frames").glob("*.tar")) if finetune else [Path("data/features.npy")]
    trainer.checkpoint = Checkpoint(
        f"train-{approach}", f".checkpoints/{approach}.pt", [*inputs, "data/clips.csv", "data/split.csv"],
        sampler, features, model, settings.train, trainer.device.type, versions(), training_code(),
    )  # fmt: skip
    result = trainer.train(train, val)

    config = ModelConfig(
        approach=approach,
        class_names=class_names,
        num_frames=sampler.num_frames,
        head=model.head,
        hidden=model.hidden,
        views=ViewConfig.from_settings(features),
        finetune_blocks=model.finetune_blocks,
        precision=features.precision,
        seed=sampler.seed,
        candidates=sampler.candidates,
        frame_size=settings.frame_size,
        frames=sampler.frames,
        sampling=sampler.sampling,
        clip_seconds=median_seconds(train.rows),
        best_epoch=result.best_epoch,
        **calibrate(result.val_logits.numpy(), val.labels),
        versions=versions(),
    )
    save_model(f"models/{approach}/model.pt", TrainedModel(config, *trained_weights(trainer, features.weights)))
    write_table(f"models/{approach}/history.csv", pd.DataFrame(result.history).round(6))
    trainer.checkpoint.remove()
    epochs, best = len(result.history), result.best_epoch
    which = f"best is epoch {best['epoch']} of {epochs}" if epochs > 1 else "trained"
    print(f"train-{approach}: {which}, val accuracy {best['val_accuracy']:.4f}, temperature {config.temperature:.2f}")


if __name__ == "__main__":
    run_stage(main)
