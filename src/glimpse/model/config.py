"""What a model file says besides its weights: everything that prediction needs to know. No torch in here."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from glimpse.features.views import ViewConfig


@dataclass(frozen=True)
class ModelConfig:
    """The plain values of a trained model, of model.pt and of the metadata of an exported model alike."""

    approach: str
    class_names: list[str]
    num_frames: int  # that the model reads
    head: str  # a temporal head, or two of them joined by "+"
    hidden: int
    views: ViewConfig
    finetune_blocks: int  # of the backbone; 0: frozen
    precision: str
    seed: int
    candidates: int
    frame_size: int
    frames: int  # sampled from the candidates; the model reads the first `num_frames` of them
    sampling: str
    clip_seconds: float  # median length of the training clips; 0: unknown
    best_epoch: dict[str, float]  # its row of history.csv
    temperature: float
    val_confidence: list[float]  # of each val clip, at this temperature
    val_correct: list[bool]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As nested plain values, which JSON and `torch.save` can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; raises TypeError or KeyError for other values."""
        return cls(**{**values, "views": ViewConfig(**values["views"])})
