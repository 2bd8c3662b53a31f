"""Stage `frames`: decode every clip of the data set once and store frames that are spread evenly over it.

Reads the clips in the folder `dataset`. Writes data/frames/ (JPEGs in tar shards), data/clips.csv (one row per usable
clip) and data/rejected.csv (one row per file that is not used, with the reason).
Run: python src/frames.py [--workers N] [--timeout SECONDS]
"""

from glimpse.core.stage import run_stage, stage_parser


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--workers", type=int, help="number of processes that decode (default: one per processor core)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds to decode one clip (default: %(default)s)")
    args = parser.parse_args()
    if not args.timeout > 0:
        parser.error(f"--timeout is {args.timeout:g}: expected seconds above 0")

    import os

    import pandas as pd

    from glimpse.core.files import write_table
    from glimpse.core.settings import read_settings
    from glimpse.frames.decode_all import CLIP_COLUMNS, DAMAGED_BELOW, check, decode_all, select_clips, write_shards
    from glimpse.frames.find_clips import find_clips

    settings = read_settings()
    clips, rejected = find_clips(settings.dataset)
    actions = {clip.action for clip in clips}
    print(f"frames: {len(clips)} clips of {len(actions)} actions in {settings.dataset}", flush=True)
    paths = [os.path.join(settings.dataset, clip.name) for clip in clips]
    workers = os.cpu_count() or 1 if args.workers is None else max(1, args.workers)
    results = decode_all(paths, settings.candidates, settings.frame_size, workers, args.timeout)

    rows, entries, unusable = select_clips(clips, results, settings.min_decoded)
    rejected = dict(sorted((rejected | unusable).items()))
    write_table("data/rejected.csv", pd.DataFrame(rejected.items(), columns=["clip", "reason"]))
    check(rejected, len(rows), settings.on_bad_clip)
    for name, reason in list(rejected.items())[:10]:
        print(f"frames: not used: {name}: {reason}")
    if len(rejected) > 10:
        print(f"frames: not used: {len(rejected) - 10} more, all in data/rejected.csv")
    table = pd.DataFrame(rows, columns=CLIP_COLUMNS)
    if damaged := (table["decoded_fraction"] < DAMAGED_BELOW).sum():
        where = f"decoded_fraction in data/clips.csv is below {DAMAGED_BELOW}"
        print(f"frames: {damaged} of the used clips are damaged: {where}")

    actions = set(table["action"])
    if len(actions) < 2:
        usable = f"usable clips of {len(actions)} actions ({', '.join(actions) or 'none'})"
        raise SystemExit(f"dataset: {settings.dataset} has {usable}: expected at least 2, one folder of clips each")
    write_shards("data/frames", table["clip"], entries)
    write_table("data/clips.csv", table)
    print(f"frames: {len(table)} clips of {len(actions)} actions, {settings.candidates} frames each, in data/frames/")


if __name__ == "__main__":
    run_stage(main)
