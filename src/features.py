"""Stage `features`: extract frozen-backbone and flow features of every stored frame, once, for all trainings.

Reads data/frames/ and data/clips.csv. Writes data/features.npy: float16 (clips, 1 + augmented views, stored frames,
features), clips in the order of clips.csv, the clean view first. Run: python src/features.py
"""

from glimpse.core.stage import run_stage, stage_parser


def main() -> None:
    stage_parser(__doc__).parse_args()
    from glimpse.core.files import read_table
    from glimpse.core.frame_store import FrameStore
    from glimpse.core.settings import read_settings
    from glimpse.features.augment import hflip_allowed
    from glimpse.features.extract_all import extract_all, gather

    settings = read_settings()
    table = read_table("data/clips.csv", ["clip", "action"])
    hflip = hflip_allowed(settings.features.hflip, table["action"].unique())
    if not hflip and settings.features.hflip == "auto":
        print("features: no horizontal flips, since names of actions say left or right")
    entries, new = extract_all(table["clip"].tolist(), FrameStore("data/frames"), settings.features, hflip)
    clips, views, frames, _ = gather(entries, "data/features.npy")
    print(f"features: {clips} clips ({new} new) x {views} views x {frames} frames in data/features.npy")


if __name__ == "__main__":
    run_stage(main)
