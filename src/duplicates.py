"""Stage `duplicates`: find near-duplicate clips, so that `split` can keep copies of one clip in one split.

Reads data/frames/ and data/clips.csv. Writes data/duplicates.csv: clip_a, clip_b, hash_distance (the fraction of the
bits of their hashes that differ), one row per pair. Run: python src/duplicates.py
"""

from glimpse.core.stage import run_stage, stage_parser


def main() -> None:
    stage_parser(__doc__).parse_args()

    import pandas as pd

    from glimpse.core.files import read_table, write_table
    from glimpse.core.frame_store import FrameStore
    from glimpse.duplicates.near_duplicates import all_thumbnails, near_duplicates

    clips = sorted(read_table("data/clips.csv", ["clip"])["clip"])
    thumbnails = all_thumbnails(clips, FrameStore("data/frames"))
    pairs = [(clips[a], clips[b], f"{distance:.4f}") for a, b, distance in near_duplicates(thumbnails)]
    write_table("data/duplicates.csv", pd.DataFrame(sorted(pairs), columns=["clip_a", "clip_b", "hash_distance"]))
    print(f"duplicates: {len(pairs)} pairs of near-duplicate clips, in data/duplicates.csv")


if __name__ == "__main__":
    run_stage(main)
