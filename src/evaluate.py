"""Stage `evaluate`: how good both approaches are, on clips they have never seen, and on clips they have.

Reads models/<approach>/model.pt, data/split.csv, data/clips.csv, data/features.npy, and data/frames/ for a tuned
model. Writes metrics/test.json and the tables beside it. Run: python src/evaluate.py
"""

import json

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_recall

from glimpse.files import whole, write_table
from glimpse.inference import Recognizer, settled_after
from glimpse.parts import load_parts
from glimpse.sampling import keyed_rng
from glimpse.settings import read
from glimpse.store import Frames

APPROACHES = ("first5", "all10")


def beliefs_of(recognizer, part, features, frames):
    """What a model believes of each clip of a part after each frame: probabilities (clips, use, actions)."""
    if recognizer.tuned:
        return np.stack([recognizer.believe(clip, frames.stored(clip)) for clip in part.clips])
    positions = np.stack([recognizer.positions(clip) for clip in part.clips])
    return recognizer.believe_features(features[part.rows[:, None], 0, positions])


def scores(probabilities, actions):
    """Accuracy (share of clips right) and recall (mean over actions of the share of its clips found)."""
    probabilities, actions = torch.from_numpy(probabilities), torch.from_numpy(actions)
    count = probabilities.shape[1]
    return {
        "accuracy": multiclass_accuracy(probabilities, actions, count, average="micro").item(),
        "recall": multiclass_recall(probabilities, actions, count, average="macro").item(),
    }


def subsets(beliefs, parts, number, seed):
    """The original study's protocol: scores on random halves of the clips of train and val, which the models know."""
    actions = np.concatenate([parts["train"].actions, parts["val"].actions])
    rows = []
    for subset in range(1, number + 1):
        chosen = np.sort(keyed_rng(seed, "subset", subset).permutation(len(actions))[: max(1, len(actions) // 2)])
        row = {"subset": subset, "seen_clips": len(chosen)}
        for approach, of in beliefs.items():
            last = np.concatenate([of["train"][:, -1], of["val"][:, -1]])[chosen]
            row |= {f"{approach}_{name}": value for name, value in scores(last, actions[chosen]).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def early(beliefs, actions):
    """Accuracy on the test part after 1, 2, … frames, a column for each approach.

    The answer of an approach that reads no more frames stands.
    """
    curves = {
        approach: pd.Series([scores(of["test"][:, t], actions)["accuracy"] for t in range(of["test"].shape[1])])
        for approach, of in beliefs.items()
    }
    table = pd.DataFrame(curves).ffill()
    table.insert(0, "frames", range(1, len(table) + 1))
    return table


def recalls(beliefs, actions, names):
    """Recall of each action on the test part, with its number of clips."""
    rows = []
    for number, name in enumerate(names):
        its = actions == number
        row = {"action": name, "clips": int(its.sum())}
        for approach, of in beliefs.items():
            row[approach] = float((of["test"][its, -1].argmax(1) == number).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def answers(belief, part, names):
    """Every test clip with its answer, and the probability of each action after the last frame."""
    last = belief[:, -1]
    table = pd.DataFrame({"clip": part.clips, "group": part.groups})
    table["action"] = [names[number] for number in part.actions]
    table["predicted"] = [names[number] for number in last.argmax(1)]
    table["settled_after"] = [settled_after(one) for one in belief]
    return pd.concat([table, pd.DataFrame(last, columns=[f"p({name})" for name in names])], axis=1)


def main():
    settings = read("seed", "evaluate")
    names, parts = load_parts()
    features, frames = np.load("data/features.npy", mmap_mode="r"), Frames("data/frames")
    test, beliefs, used, metrics = parts["test"], {}, set(), {"n": len(parts["test"].clips)}
    for approach in APPROACHES:
        path = f"models/{approach}/model.pt"
        recognizer = Recognizer(path)
        if recognizer.actions != names:
            raise SystemExit(f"{path}: trained on other actions ({', '.join(recognizer.actions)}): run `dvc repro`")
        used.add(recognizer.use)
        beliefs[approach] = {part: beliefs_of(recognizer, held, features, frames) for part, held in parts.items()}
        metrics[approach] = {k: round(v, 4) for k, v in scores(beliefs[approach]["test"][:, -1], test.actions).items()}
        table = answers(beliefs[approach]["test"], test, names)
        write_table(f"metrics/predictions-{approach}.csv", table.round(6))
    seen = subsets(beliefs, parts, settings.evaluate.subsets, settings.seed)
    write_table("metrics/subsets.csv", seen.round(4))
    write_table("metrics/early.csv", early(beliefs, test.actions).round(4))
    write_table("metrics/recall.csv", recalls(beliefs, test.actions, names).round(4))
    with whole("metrics/test.json") as file:
        file.write(json.dumps(metrics, indent=2) + "\n")

    if len(used) == 1:
        print(f"evaluate: both approaches read the same {used.pop()} frames")
    print(f"evaluate: {metrics['n']} test clips of {len(set(test.groups))} groups that no training has seen")
    for approach in APPROACHES:
        held, mean = metrics[approach], seen[f"{approach}_accuracy"].mean()
        print(
            f"evaluate: {approach:>6}: accuracy {held['accuracy']:.4f}, recall {held['recall']:.4f}; on clips it was "
            f"trained or chosen with {mean:.4f}, that is {mean - held['accuracy']:+.4f}"
        )


if __name__ == "__main__":
    main()
