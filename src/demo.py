"""Stage `demo`: draw the demo clips: an articulated figure, five actions, and a known best possible accuracy.

Reads the settings `demo`. Writes data/demo/<action>/actor07_<action>_2.avi (actors from 00, repetitions from 1):
160x120 pixels, about 2 s at 24 frames/s, Motion JPEG in AVI. Run: python src/demo.py

    wave                stands and waves an arm over the head: any single frame shows it
    sit_down, stand_up  one movement and its reverse, at a random time: only the order of the frames shows which
    lift, lower         holds a box, then raises it or puts it down: only frames after PARTING show which

Where two actions look the same in the frames that a model reads, it can only guess. So the pairs in AMBIGUOUS give the
best possible accuracy on new actors and equally frequent actions (CEILINGS):

    middle_frame  3/5  both pairs look the same (also in frames up to 0.62 away, such as at 0.475 of a clip)
    first5        4/5  of 10 frames: sit_down starts upright and stand_up seated; lift and lower are still the same
    shuffled      4/5  all 10 without their order: lift and lower end differently; sit_down and stand_up do not differ
    all10         5/5  all 10 in order

The values for the middle frame and for shuffled frames hold for RGB frames alone: RGB difference and flow show the
direction of a movement. Each actor does all actions, and what varies between clips is drawn in the same way for every
action, so neither gives the action away. Sway and camera motion run backward as often as forward. No action looks like
another one in a mirror.
"""

from glimpse.core.stage import run_stage, stage_parser


def main() -> None:
    stage_parser(__doc__).parse_args()

    from pathlib import Path

    from glimpse.core.settings import read_settings
    from glimpse.demo.draw import CEILINGS, draw_all
    from glimpse.demo.stick_figure import ACTIONS

    demo, folder = read_settings().demo, Path("data/demo")
    clips = draw_all(folder, demo.actors, demo.repetitions, demo.seed)
    megabytes = sum(path.stat().st_size for path in folder.rglob("*.avi")) / 1e6
    print(f"demo: {clips} clips, {len(ACTIONS)} actions, {demo.actors} actors, {megabytes:.1f} MB in data/demo")
    print("demo: best possible accuracy:", ", ".join(f"{frames} {best:g}" for frames, best in CEILINGS.items()))


if __name__ == "__main__":
    run_stage(main)
