"""The figure of the demo clips: actors with a body, clothes and a background, their poses, and how frames are drawn.

A take is one repetition of an action by an actor. Lengths are in body heights, x forward and y up, until they are
drawn; times run from 0 to 1 through a clip.
"""

import colorsys
from collections.abc import Iterable
from types import SimpleNamespace

import cv2
import numpy as np
from numpy.random import Generator

ACTIONS = ("wave", "sit_down", "stand_up", "lift", "lower")
SITTING, HOLDING = ("sit_down", "stand_up"), ("lift", "lower")

WIDTH, HEIGHT, FPS = 160, 120, 24  # frame size in pixels, frames per second
FINE, EDGE = 2, 16  # drawn FINE times larger for smooth edges, and EDGE pixels wider so that the camera can move
AHEAD, UP = np.eye(2)
PARTING = 0.54  # clip time; the 11th of 20 stored frames is at 0.525, up to 0.0125 later after rounding to a frame
ACTOR = {  # ranges: body in body heights, camera in pixels and degrees, others are factors
    "leg": (0.47, 0.51), "arm": (0.33, 0.36), "head": (0.08, 0.095), "seat": (0.2, 0.24), "build": (0.9, 1.2),
    "tall": (76, 86), "x": (74, 86), "floor": (110, 113), "tilt": (-2, 2), "pace": (0.8, 1.25),
    "drift": (0, 4), "shake": (0, 0.6), "blur": (0.2, 0.7), "noise": (0.5, 2.5), "light": (0.8, 1.1),
}  # fmt: skip
TAKE = {  # ranges: clip times, then radians, then pixels, then waves per second and factors
    "centre": (0.26, 0.74), "length": (0.33, 0.39), "parting": (PARTING, 0.6), "done": (0.76, 0.85),
    "outward": (0.35, 0.65), "swing": (0.45, 0.7), "sway": (0, 0.03), "heading": (0, 2 * np.pi), "x": (-4, 4),
    "view_x": (-3, 3), "waves": (1.2, 1.8), "light": (0.95, 1.05),
}  # fmt: skip
ROOM = ((0.05, 0.45), (0.4, 0.9)), ((0.1, 0.5), (0.25, 0.8))  # wall and floor: saturation, value, hue
MEADOW = ((0.1, 0.5), (0.8, 0.95), (0.53, 0.62)), ((0.3, 0.7), (0.35, 0.65), (0.15, 0.38))  # sky and grass

Range = tuple[float, float]


def smoothstep(x: float) -> float:
    """0 for x <= 0, 1 for x >= 1, and a smooth, symmetric step between."""
    return (x := np.clip(x, 0, 1)) * x * (3 - 2 * x)


def towards(angle: float) -> np.ndarray:
    """The unit vector `angle` radians forward from straight up."""
    return np.sin(angle) * AHEAD + np.cos(angle) * UP


def colours(rng: Generator, saturation: Range, value: Range, hue: Range = (0, 1), *, n: int = 80) -> np.ndarray:
    """n random BGR colours (n, 3), 0 to 255, from ranges of 0 to 1."""
    low, high = zip(hue, saturation, value, strict=True)
    return np.array([colorsys.hsv_to_rgb(*hsv)[::-1] for hsv in rng.uniform(low, high, (n, 3))]) * 255


def clearest(choices: np.ndarray, *backgrounds: np.ndarray) -> np.ndarray:
    """The first of the BGR `choices` (n, 3) that differs clearly from every background colour, else the best one."""
    lab = cv2.cvtColor(np.vstack([choices, *backgrounds]).astype(np.float32)[None] / 255, cv2.COLOR_BGR2Lab)[0]
    distance = np.linalg.norm(lab[: len(choices), None] - lab[len(choices) :], axis=2).min(axis=1)  # CIE76
    return choices[np.argmax(np.minimum(distance, 38))]  # 38: a clear difference, even with noise


def paint_place(rng: Generator) -> np.ndarray:
    """A room or a meadow, EDGE pixels wider than the frame on every side: (304, 384, 3) BGR uint8."""
    rows, columns = FINE * (HEIGHT + 2 * EDGE), FINE * (WIDTH + 2 * EDGE)
    indoors, ground = rng.random() < 0.5, int(rows * rng.uniform(0.66, 0.78))
    far, near = (colours(rng, *ranges, n=1)[0] for ranges in (ROOM if indoors else MEADOW))
    place = np.empty((rows, columns, 3), np.float32)
    place[:ground] = far
    place[ground:] = np.linspace(0.8 * near, 1.1 * near, rows - ground)[:, None]
    for bgr in colours(rng, (0, 0.4), (0.4, 0.9), n=int(rng.integers(2, 6))):
        x, y, wide, high = (int(v) for v in rng.uniform((-20, 0, 30, 30), (columns, 0.8 * ground, 90, 120)))
        if indoors:  # pictures, windows, doors
            for shade, line in ((0.4 * bgr + 0.6 * far, -1), (0.7 * far, 3)):
                cv2.rectangle(place[:ground], (x, y), (x + wide, y + high), shade, line)
        else:  # trees
            cv2.line(place, (x, y), (x, ground + 2), 0.6 * near, 5)
            cv2.circle(place, (x, y), wide // 2, 0.7 * near + 0.3 * far, -1, cv2.LINE_AA)
    for cell in (24, 4):  # stains, then grain
        grain = rng.normal(0, 4, (rows // cell + 1, columns // cell + 1)).astype(np.float32)
        place += cv2.resize(grain, (columns, rows), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(place, 0, 255).astype(np.uint8)


def make_actor(number: int, seed: int) -> SimpleNamespace:
    """What all clips of an actor share: ACTOR, a background, and colours that differ clearly from it and each other."""
    rng = np.random.default_rng([seed, number])
    place = paint_place(rng)
    behind = cv2.resize(place[:, 100:-100], (4, 6), interpolation=cv2.INTER_AREA).reshape(24, 3)  # 6 rows
    skin = clearest(colours(rng, (0.3, 0.55), (0.25, 0.95), (0.05, 0.09)), behind[:16])
    shirt = clearest(colours(rng, (0.35, 0.95), (0.25, 1)), behind[4:16], skin)
    trousers = clearest(colours(rng, (0.1, 0.8), (0.15, 0.85)), behind[8:], shirt)
    return SimpleNamespace(
        **{name: rng.uniform(*ends) for name, ends in ACTOR.items()},
        place=place, skin=skin, shirt=shirt, trousers=trousers, sleeve=shirt if rng.random() < 0.5 else skin,
        hair=clearest(colours(rng, (0.1, 0.6), (0.1, 0.9), (0.05, 0.13)), skin),
        stool=clearest(colours(rng, (0.2, 0.7), (0.2, 0.9)), behind[16:], trousers),
        box=clearest(colours(rng, (0.4, 0.9), (0.4, 1), (0.07, 0.12)), behind[:16], shirt, skin),
        box_half=rng.uniform((0.115, 0.09), (0.14, 0.11)),  # half its width and height, in body heights
    )  # fmt: skip


def make_take(rng: Generator) -> SimpleNamespace:
    """What varies between the clips of an actor: TAKE and more, drawn in the same way for every action."""
    return SimpleNamespace(
        **{name: rng.uniform(*ends) for name, ends in TAKE.items()},
        phases=rng.random(6), frames=rng.integers(40, 57), facing=rng.choice((-1, 1)), arm=rng.choice(2),
    )  # fmt: skip


def bend(start: np.ndarray, end: np.ndarray, bones: float, side: int) -> np.ndarray:
    """Start, joint and end (3, 2) of two equal bones, `bones` long together, from start towards end."""
    reach = float(np.linalg.norm(end - start))
    along, reach = (end - start) / reach, min(reach, 0.999 * bones)
    bulge = side * np.sqrt(bones**2 - reach**2) / 2
    return np.array([start, start + along * reach / 2 + bulge * along[::-1] * [1, -1], start + along * reach])


def pose(action: str, t: float, actor: SimpleNamespace, take: SimpleNamespace) -> SimpleNamespace:
    """Joints at clip time t (0 to 1), each (x, y) in body heights: x forward from between the feet, y up.

    `legs` and `arms`: far and near, each (3, 2): hip, knee, ankle; shoulder, elbow, hand. `box` may be None.
    """
    since = {"sit_down": t, "stand_up": 1 - t}.get(action, -1) - take.centre  # one movement, two directions
    seated = smoothstep(since * actor.pace / take.length + 0.5)
    parted = smoothstep((t - take.parting) / (take.done - take.parting))
    raised, lowered = parted * (action == "lift"), parted * (action == "lower")
    turns = actor.pace * take.waves * take.frames / FPS * t
    rock = take.sway * np.sin(2 * np.pi * (turns / 2 + take.phases[0]))
    upright, seat = (0.985 * actor.leg + 0.03) * UP, (actor.seat + 0.07) * UP - 0.29 * AHEAD
    hip = upright + seated * (seat - upright) + lowered * (0.3 * UP - 0.1 * AHEAD - upright)
    lean = 0.05 + rock + 0.65 * np.sin(np.pi * seated) + 1.05 * lowered - 0.08 * raised
    chest, box = hip + (0.77 - actor.leg) * towards(lean), None
    legs: list[np.ndarray] = []
    arms: list[np.ndarray] = []
    if action in HOLDING:
        at_chest, half = 0.25 * AHEAD + (0.66 + 0.5 * rock) * UP, actor.box_half[1] * UP
        overhead, ground = (0.55 - 0.5 * raised) * AHEAD + 0.98 * UP + half, 0.3 * AHEAD + half  # around the face
        box = at_chest + raised * (overhead - at_chest) + lowered * (ground - at_chest)
    for near, side in enumerate((1, -1)):  # three-quarter view: the far side shows ahead of the near one
        ankle = 0.06 * side * AHEAD + (0.035 + 0.012 * side) * UP
        leg, shoulder = bend(hip + 0.035 * side * AHEAD, ankle, actor.leg, -1), chest + 0.065 * side * AHEAD
        hang, lap = shoulder + 0.02 * AHEAD - 0.97 * actor.arm * UP, leg[1] - 0.02 * AHEAD + 0.055 * UP
        hand = hang + seated * (lap - hang) if box is None else box + actor.box_half * [0.7 * side, -0.4]
        arm = bend(shoulder, hand, actor.arm, 1)
        if action == "wave" and near == take.arm:
            swing = take.swing * np.sin(2 * np.pi * (turns + take.phases[1]))
            arm[1] = shoulder + actor.arm / 2 * towards(side * take.outward)
            arm[2] = arm[1] + actor.arm / 2 * towards(side * take.outward / 2 + swing)
        legs.append(leg)
        arms.append(arm)
    head = chest + (0.03 + actor.head) * towards(0.6 * lean) + 0.015 * AHEAD
    return SimpleNamespace(hip=hip, chest=chest, head=head, legs=legs, arms=arms, box=box)


def draw_figure(joints: SimpleNamespace, actor: SimpleNamespace, take: SimpleNamespace) -> np.ndarray:
    """Stool, figure and box on a copy of the background (304, 384, 3): first the far side, then the near one."""
    canvas, unit, wide, chest = actor.place.copy(), FINE * actor.tall, actor.build, joints.chest - 0.04 * UP

    def at(x: float, y: float) -> tuple[int, int]:  # in 1/16 pixels: what shift=4 means to OpenCV
        x, y = actor.x + take.x + take.facing * actor.tall * x, actor.floor - actor.tall * y
        return round(16 * FINE * (EDGE + float(x))), round(16 * FINE * (EDGE + float(y)))

    def limb(points: Iterable, thick: float, *shades: np.ndarray) -> None:  # a shade for each bone, over a dark outline
        ends, pixels = [at(*point) for point in points], round(unit * thick)
        outline = 0.45 * shades[0]
        cv2.polylines(canvas, [np.array(ends)], False, outline, pixels + 3, cv2.LINE_AA, 4)  # type: ignore[call-overload]
        for k in range(len(ends) - 1):
            shade = shades[k % len(shades)]
            cv2.line(canvas, ends[k], ends[k + 1], shade, pixels, cv2.LINE_AA, 4)  # type: ignore[call-overload]

    limb([(-0.35, 0), (0.08, 0)], 0.06, 0.8 * canvas[-3 * EDGE, 0])  # shadow
    stool = np.array([(-0.37, 0.01), (-0.34, actor.seat - 0.03), (-0.24, actor.seat - 0.03), (-0.21, 0.01)])
    limb(stool, 0.025, 0.8 * actor.stool)
    limb([stool[1] - 0.035 * AHEAD, stool[2] + 0.035 * AHEAD], 0.045, actor.stool)
    for near, leg, arm, tone in zip((0, 1), joints.legs, joints.arms, (0.77, 1.0), strict=True):
        if near:  # neck, trunk, head
            limb([chest, joints.head], 0.06, 0.85 * actor.skin)
            limb([joints.hip - 0.02 * AHEAD, joints.hip + 0.02 * AHEAD], 0.16 * wide, 0.9 * actor.trousers)
            waist = 0.75 * joints.hip + 0.25 * chest
            limb([waist, chest, chest + 0.03 * AHEAD, chest - 0.03 * AHEAD], 0.16 * wide, actor.shirt)
            for *spot, size in (-0.12, 0.12, 2), (1, -0.2, 0.35), (0.15, -0.15, 1.6), (0.55, 0, 0.12):
                shade = {2: actor.hair, 0.12: 0 * actor.skin}.get(size, actor.skin)  # hair, nose, face, eye
                limb([joints.head + actor.head * np.array(spot)] * 2, size * actor.head, shade)
        limb([leg[2] - 0.01 * UP, leg[2] + 0.075 * AHEAD - 0.015 * UP], 0.045, 0.4 * tone * actor.trousers)
        limb(leg, 0.09 * wide, tone * actor.trousers)
        if near and joints.box is not None:
            corners = [at(*(joints.box + actor.box_half * c)) for c in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            cv2.fillConvexPoly(canvas, np.array(corners), actor.box, cv2.LINE_AA, 4)
            cv2.polylines(canvas, [np.array(corners)], True, 0.45 * actor.box, 3, cv2.LINE_AA, 4)
        limb(arm, 0.072 * wide, tone * actor.shirt, tone * actor.sleeve)
        limb([arm[2]] * 2, 0.1, tone * actor.skin)
    return canvas


def draw_clip(action: str, actor: SimpleNamespace, rng: Generator) -> list[np.ndarray]:
    """The frames of a clip, each (120, 160, 3) BGR uint8. Frame i of n shows clip time (i + 0.5) / n."""
    take, frames = make_take(rng), []
    for t in (np.arange(take.frames) + 0.5) / take.frames:
        canvas = draw_figure(pose(action, t, actor, take), actor, take)
        canvas = cv2.resize(canvas, None, fx=1 / FINE, fy=1 / FINE, interpolation=cv2.INTER_AREA)
        waves = np.sin(2 * np.pi * (t * np.array([1.3, 1.7, 2.9, 3.7]) + take.phases[2:]))
        shift = (t - 0.5) * actor.drift * towards(take.heading) + actor.shake * (waves[:2] + waves[2:])
        camera = cv2.getRotationMatrix2D((EDGE + WIDTH / 2, EDGE + HEIGHT / 2), actor.tilt, 1)
        camera[:, 2] += shift + take.view_x * AHEAD - EDGE
        picture = cv2.warpAffine(canvas, camera, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        picture = cv2.GaussianBlur(picture, (5, 5), actor.blur) * np.float32(actor.light * take.light)
        picture += actor.noise * rng.standard_normal(picture.shape, dtype=np.float32)
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
    return frames
