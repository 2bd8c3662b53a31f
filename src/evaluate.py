"""Stage `evaluate`: measure both models on the test clips, with intervals, calibration, baselines and checks.

Reads models/<approach>/model.pt, data/split.csv, data/clips.csv, data/features.npy, and data/frames/ for a fine-tuned
backbone. Writes metrics/test.json, metrics/tables/ and metrics/summary.txt. Run: python src/evaluate.py
"""

from glimpse.core.stage import run_stage, stage_parser


def main() -> None:
    stage_parser(__doc__).parse_args()
    import json

    import numpy as np

    from glimpse.core.files import atomic_folder, atomic_write, load_array, read_numbers, read_table
    from glimpse.core.frame_store import FrameStore
    from glimpse.core.settings import APPROACHES, read_settings
    from glimpse.core.splits import SPLITS, load_splits
    from glimpse.evaluate import baselines, checks, curves, metrics
    from glimpse.evaluate.intervals import paired_difference
    from glimpse.evaluate.summary import summary

    settings = read_settings()
    max_error, seed = settings.evaluate.max_error, settings.seed
    class_names, splits = load_splits(SPLITS)
    clips = read_numbers("data/clips.csv", ["clip"], checks.CLIP_PROPERTIES)
    features, store = load_array("data/features.npy", len(clips), None, None, None), FrameStore("data/frames")
    test, tables = splits["test"], {}

    recognizers = {name: metrics.load_recognizer(f"models/{name}/model.pt", class_names) for name in APPROACHES}
    num_frames = {name: recognizer.num_frames for name, recognizer in recognizers.items()}
    probs = {
        name: {split: recognizer.predict_split(splits[split], features, store) for split in SPLITS}
        for name, recognizer in recognizers.items()
    }  # (clips, frames, classes)
    test_probs = {name: by_split["test"] for name, by_split in probs.items()}
    final = {name: values[:, -1] for name, values in test_probs.items()}
    first5, all10 = (values.argmax(1) == test.labels for values in final.values())

    # metrics of each approach, and their difference
    scores = {name: metrics.evaluate_model(recognizers[name], final[name], test, max_error) for name in APPROACHES}
    test_json: dict[str, int | dict[str, float]] = {"n": len(test.clips)}
    for name, values in final.items():
        test_json[name] = {
            key: round(score, 4) for key, score in metrics.accuracy_and_recall(values, test.labels).items()
        }
        tables[f"predictions-{name}"] = metrics.predictions_table(test_probs[name], test, class_names).round(6)
        tables[f"calibration-{name}"] = curves.reliability_bins(values, test.labels).round(4)
        tables[f"coverage-{name}"] = curves.accuracy_coverage(values, test.labels).round(4)
    differences = {
        "accuracy": paired_difference(first5, all10, test.groups),
        "recall": paired_difference(first5, all10, test.groups, test.labels),
    }
    tables["scores"] = metrics.scores_table(scores, differences).round(6)
    tables["subsets"] = metrics.subsets_table(probs, splits, settings.evaluate.subsets, seed).round(4)

    # accuracy after 1, 2, … frames; after the last it is the recall of each action
    longest = max(recognizers.values(), key=lambda recognizer: recognizer.num_frames)
    positions = np.stack([longest.positions(clip) for clip in test.clips])
    ratios = curves.observation_ratio(positions, longest.config.candidates)
    tables["accuracy_by_frames"] = curves.accuracy_by_frames(test_probs, test, ratios).round(6)
    per_action = curves.accuracy_by_frames_per_action(test_probs, test, ratios, class_names).round(6)
    tables["accuracy_by_frames_per_action"] = per_action
    recall = per_action[per_action["frames"] == longest.num_frames]
    tables["recall"] = recall.drop(columns=["frames", "observation_ratio"])

    # baselines and checks
    fewest, train_labels = min(num_frames.values()), splits["train"].labels
    baseline = baselines.correct_by_baseline(recognizers["all10"], test, fewest, features, store, seed)
    tables["baselines"] = baselines.baselines_table(baseline, test, train_labels, class_names, fewest).round(6)
    split_table = read_table("data/split.csv", ["clip", "leaked"])
    leaked = split_table["clip"][split_table["leaked"] == "yes"].tolist()
    val_correct = {name: recognizer.config.val_correct for name, recognizer in recognizers.items()}
    properties = {name: clips[name].to_numpy() for name in checks.CLIP_PROPERTIES}
    tables["warnings"] = checks.run_checks(probs, val_correct, splits, properties, leaked, class_names)

    order_effect = paired_difference(baseline["shuffled_frames"], all10, test.groups)
    text = "\n".join(summary(scores, num_frames, differences, order_effect, max_error, tables)) + "\n"
    with atomic_write("metrics/test.json") as file:
        file.write(json.dumps(test_json, indent=2) + "\n")
    with atomic_folder("metrics/tables") as folder:
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    with atomic_write("metrics/summary.txt") as file:
        file.write(text)
    print("evaluate: " + text.rstrip().replace("\n", "\n  "))


if __name__ == "__main__":
    run_stage(main)
