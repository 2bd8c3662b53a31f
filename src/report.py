"""Stage `report`: show data, models and results on one HTML page, which needs no other file.

Reads metrics/tables/, metrics/summary.txt, models/<approach>/model.pt, data/split.csv, data/clips.csv,
data/rejected.csv, data/leaks.csv and data/frames/. Writes metrics/report.html. Run: python src/report.py
"""

from glimpse.core.stage import run_stage, stage_parser

HIDDEN_SETTINGS = ("dataset", "demo.", "split.official_lists")  # paths, and what doesn't concern the models


def main() -> None:
    stage_parser(__doc__).parse_args()
    from collections import Counter

    from glimpse.core.files import atomic_write, read_numbers, read_table
    from glimpse.core.frame_store import FrameStore
    from glimpse.core.settings import APPROACHES, flatten_settings, read_settings
    from glimpse.inference.torch_recognizer import TorchRecognizer
    from glimpse.report import figures
    from glimpse.report.clip_strips import example_strips
    from glimpse.report.templates import render

    settings = read_settings()
    recognizers = {name: TorchRecognizer(f"models/{name}/model.pt") for name in APPROACHES}
    configs = {name: recognizer.config for name, recognizer in recognizers.items()}
    same_frames = len({config.num_frames for config in configs.values()}) == 1
    approaches = APPROACHES[1:] if same_frames else APPROACHES  # the same model is shown once
    class_names = configs["all10"].class_names

    clips = read_numbers("data/clips.csv", ["clip", "width", "height"], ["seconds", "decoded_fraction"])
    split = read_table("data/split.csv", ["clip", "action", "group", "split", "leaked"])
    leaks = read_table("data/leaks.csv", ["clip", "other", "reason", "splits", "handling"])
    rejected = read_table("data/rejected.csv", ["clip", "reason"])

    texts, probs = ["clip", "action", "predicted"], [f"p({name})" for name in class_names]
    predictions = {name: figures.read_metrics(f"predictions-{name}", texts, probs) for name in approaches}
    intervals = [f"{name}{suffix}" for name in approaches for suffix in ("", "_low", "_high")]
    by_frames = figures.read_metrics("accuracy_by_frames", [], ["frames", "observation_ratio", *intervals])
    recall = figures.read_metrics("recall", ["action"], ["clips", *intervals])
    baselines = figures.read_metrics("baselines", ["baseline", "description"], ["accuracy", "low", "high"])
    summary = figures.read_lines("metrics/summary.txt")

    store, factor, flat = FrameStore("data/frames"), 1 + same_frames, flatten_settings(settings)
    context = {
        "approaches": approaches,
        "same_frames": same_frames,
        "class_names": class_names,
        "configs": configs,
        "scores": figures.read_scores(),
        "baselines": baselines.to_dict("records"),
        "warnings": figures.read_metrics("warnings", ["message"], [])["message"].tolist(),
        "classes": figures.class_table(clips, split),
        "groups_in_several_splits": (split.groupby("group")["split"].nunique() > 1).sum(),
        "settings": {key: value for key, value in flat.items() if not key.startswith(HIDDEN_SETTINGS)},
    }
    html = render(
        "report.html.jinja",
        **context,
        model_card=render("model_card.md.jinja", **context),
        max_error=settings.evaluate.max_error,
        summary=[line for line in summary if line != "no warning" and not line.startswith("WARNING: ")],
        by_frames=by_frames.to_dict("records"),
        recall=recall.to_dict("records"),
        frames_chart=figures.frames_chart(by_frames, approaches),
        reliability_chart=figures.reliability_chart(approaches),
        coverage_chart=figures.coverage_chart(approaches),
        confusions={name: figures.confusion(table, class_names) for name, table in predictions.items()},
        strips={name: example_strips(recognizers[name], predictions[name], store, factor) for name in approaches},
        rejected=rejected.to_dict("records"),
        leaks=leaks.to_dict("records"),
        leaked=(split["leaked"] == "yes").sum(),
        partly_decoded=(clips["decoded_fraction"] < 1).sum(),
        frame_sizes=Counter(sorted(clips["width"] + " x " + clips["height"])).most_common(),
        model_facts={name: figures.model_facts(config) for name, config in configs.items()},
    )
    with atomic_write("metrics/report.html") as file:
        file.write(html)
    print(f"report: metrics/report.html, {len(html.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_stage(main)
