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
    from glimpse.evaluate.summary import Evaluation, summary

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
    correct = {name: values.argmax(1) == test.labels for name, values in final.items()}

    # metrics of each approach, and their difference
    test_json: dict[str, int | dict[str, float]] = {"n": len(test.clips)}
    for name, values in final.items():
        rounded = {key: round(score, 4) for key, score in metrics.accuracy_and_recall(values, test.labels).items()}
        test_json[name] = rounded
        tables[f"predictions-{name}"] = metrics.predictions_table(test_probs[name], test, class_names).round(6)
        tables[f"calibration-{name}"] = curves.reliability_bins(values, test.labels).round(4)
        tables[f"coverage-{name}"] = curves.accuracy_coverage(values, test.labels).round(4)
    scores = {name: metrics.evaluate_model(recognizers[name], final[name], test, max_error) for name in APPROACHES}
    differences = metrics.compare(correct["first5"], correct["all10"], test)
    tables["scores"] = metrics.scores_table(scores, differences).round(6)
    tables["recall"] = metrics.recall_table(correct, test, class_names).round(6)
    tables["subsets"] = subsets = metrics.subsets_table(probs, splits, settings.evaluate.subsets, seed).round(4)

    # accuracy after 1, 2, … frames
    longest = max(recognizers.values(), key=lambda recognizer: recognizer.num_frames)
    positions = np.stack([longest.positions(clip) for clip in test.clips])
    ratios = curves.observation_ratio(positions, longest.config.candidates)
    tables["accuracy_by_frames"] = curves.accuracy_by_frames(test_probs, test, ratios).round(6)
    per_action = curves.accuracy_by_frames_per_action(test_probs, test, ratios, class_names)
    tables["accuracy_by_frames_per_action"] = per_action.round(6)

    # baselines and checks
    fewest, train_labels = min(num_frames.values()), splits["train"].labels
    baseline = baselines.correct_by_baseline(recognizers["all10"], test, fewest, features, store, seed)
    tables["baselines"] = baselines.baselines_table(baseline, test, train_labels, class_names, fewest).round(6)
    split_table = read_table("data/split.csv", ["clip", "leaked"])
    leaked = split_table["clip"][split_table["leaked"] == "yes"].tolist()
    val_correct = {name: recognizer.config.val_correct for name, recognizer in recognizers.items()}
    properties = {name: clips[name].to_numpy() for name in checks.CLIP_PROPERTIES}
    tables["warnings"] = checks.run_checks(probs, val_correct, splits, properties, leaked, class_names)

    results = Evaluation(
        scores=scores,
        num_frames=num_frames,
        seen_accuracy={name: float(subsets[f"{name}_accuracy"].mean()) for name in APPROACHES},
        differences=differences,
        accuracy_by_frames=tables["accuracy_by_frames"],
        baselines=tables["baselines"],
        order_effect=paired_difference(baseline["shuffled_frames"], correct["all10"], test.groups),
        max_error=max_error,
        warnings=tables["warnings"]["message"].tolist(),
    )
    lines = summary(results)
    with atomic_write("metrics/test.json") as file:
        file.write(json.dumps(test_json, indent=2) + "\n")
    with atomic_folder("metrics/tables") as folder:
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    with atomic_write("metrics/summary.txt") as file:
        file.write("\n".join(lines) + "\n")
    print("evaluate: " + "\n  ".join(lines))


if __name__ == "__main__":
    run_stage(main)
