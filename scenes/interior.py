"""The interior demo: a reading room seen in a dolly zoom. The armchair keeps its size while the room
stretches behind it, and a striped ball rolls across the floor."""

from __future__ import annotations

import math
import random

import bpy
from mathutils import Matrix

from . import materials as m
from . import stage
from .shapes import Mesh, Point

LEFT, RIGHT, BACK, FRONT, HEIGHT = -2.9, 2.9, 4.2, -5.6, 2.9  # the room's faces, metres
SUBJECT: Point = (0.15, 1.4, 0.85)  # the armchair, which keeps its size
NEAR, FAR = 2.6, 6.4  # the camera's distance from it at the last and the first frame
WIDE = 20.0  # lens at NEAR, mm; the other follows from the distance
BALL = 0.19  # radius, metres


def palette() -> dict[str, bpy.types.Material]:
    made = [
        m.planks("Oak floor", "#9a6a3c"),
        m.wallpaper("Wallpaper", "#b9c4a6", "#6f8566"),
        m.plaster("Ceiling", "#efeae0"),
        m.wood("White wood", "#e6e1d6"),
        m.wood("Wainscot", "#d9d5c6", board=0.14),
        m.wood("Walnut", "#5e3c25"),
        m.wood("Pine", "#c0905a"),
        m.wood("Gilt", "#b38a3e"),
        m.fabric("Red velvet", "#a23a34"),
        m.fabric("Blue cloth", "#3d5f86"),
        m.fabric("Curtain", "#c9a254", 0.04),
        m.fabric("Shade cloth", "#e8d9b5"),
        m.rug("Rug", "#7c2f2c", "#c9a66b", "#2d3f5c"),
        m.rug("Cushion", "#d7b14a", "#3d5f86", "#efe6cf"),
        m.painting("Painting of hills", 0.3, "#9dbbd0", "#6c7f54", "#3e4a2a"),
        m.painting("Painting of dusk", 1.7, "#e0a468", "#6d4f63", "#2d2a3a"),
        m.painting("Painting of sea", 3.1, "#cfdde0", "#3f7f8c", "#d2b98a"),
        m.stripes("Ball stripes", ("#d8402f", "#f0e6d2", "#2f6fb0", "#f0e6d2"), "X", 2.6),
        m.stripes("Vase glaze", ("#2f5f8f", "#e9e4d6"), "Z", 7.0),
        m.leaves("Plant leaves", "#1f4a2a", "#3c7a3c", "#79ab55", 9.0),
        m.plain("Brass", "#c79a4b", 0.25, 1.0),
        m.plain("Terracotta", "#b5653f", 0.9),
        m.plain("Paper", "#ece4d0", 0.9),
        m.plain("Clock face", "#f4efe2", 0.4),
        m.plain("Ink", "#1d1b1a", 0.5),
        m.plain("Mirror", "#e8ecee", 0.04, 1.0),
        m.globe(),
        m.glow("Bulb", "#ffd79a", 6.0),
        m.grass("Garden"),
        m.leaves("Hedge", "#2f4a1c", "#527a2c", "#86a544", 3.0),
    ]
    books = [
        ("#7a2e2a", "Red book"),
        ("#2f4a6b", "Blue book"),
        ("#3d5a3a", "Green book"),
        ("#b58a3d", "Yellow book"),
        ("#4b3350", "Plum book"),
    ]
    made += [m.fabric(name, colour, 0.03) for colour, name in books]
    return {material.name: material for material in made}


def room(scene: bpy.types.Scene, paints) -> None:
    """Floor, three walls with a wainscot, the window's wall in four pieces round its opening, ceiling and beams."""
    floor = Mesh("Floor")
    floor.box((0, (BACK + FRONT) / 2, -0.05), (RIGHT - LEFT, BACK - FRONT, 0.1), paints["Oak floor"])
    floor.object(scene)
    walls = Mesh("Walls")
    long, middle = BACK - FRONT, (BACK + FRONT) / 2
    walls.box((0, BACK + 0.1, HEIGHT / 2), (RIGHT - LEFT + 0.4, 0.2, HEIGHT), paints["Wallpaper"])
    walls.box((0, FRONT - 0.1, HEIGHT / 2), (RIGHT - LEFT + 0.4, 0.2, HEIGHT), paints["Wallpaper"])
    walls.box((RIGHT + 0.1, middle, HEIGHT / 2), (0.2, long, HEIGHT), paints["Wallpaper"])
    for y0, y1, z0, z1 in (
        (FRONT, 0.3, 0, HEIGHT),
        (2.9, BACK, 0, HEIGHT),
        (0.3, 2.9, 0, 0.9),
        (0.3, 2.9, 2.35, HEIGHT),
    ):
        walls.box((LEFT - 0.1, (y0 + y1) / 2, (z0 + z1) / 2), (0.2, y1 - y0, z1 - z0), paints["Wallpaper"])
    walls.object(scene)
    trim = Mesh("Wainscot")
    trim.box((0, BACK - 0.02, 0.45), (RIGHT - LEFT, 0.04, 0.9), paints["Wainscot"])
    trim.box((0, BACK - 0.04, 0.93), (RIGHT - LEFT, 0.08, 0.07), paints["White wood"])
    for x, way in ((LEFT, 1), (RIGHT, -1)):
        trim.box((x + way * 0.02, middle, 0.45), (0.04, long, 0.9), paints["Wainscot"])
        trim.box((x + way * 0.04, middle, 0.93), (0.08, long, 0.07), paints["White wood"])
    trim.object(scene)
    ceiling = Mesh("Ceiling")
    ceiling.box((0, middle, HEIGHT + 0.05), (RIGHT - LEFT + 0.4, long + 0.4, 0.1), paints["Ceiling"])
    for y in (-4.0, -2.4, -0.8, 0.8, 2.4, 3.8):
        ceiling.box((0, y, HEIGHT - 0.09), (RIGHT - LEFT, 0.2, 0.18), paints["Walnut"])
    ceiling.object(scene)


def window(scene: bpy.types.Scene, paints) -> None:
    """Frame and bars in the left wall, a sill, and two curtains on a rod; a garden behind."""
    made = Mesh("Window")
    x, wood = LEFT - 0.06, paints["White wood"]
    for y in (0.34, 1.6, 2.86):
        made.box((x, y, 1.62), (0.1, 0.08, 1.46), wood)
    for z in (0.94, 1.8, 2.31):
        made.box((x, 1.6, z), (0.1, 2.6, 0.08), wood)
    for y in (0.97, 2.23):
        made.box((x, y, 1.62), (0.05, 0.04, 1.4), wood)
    made.box((LEFT + 0.1, 1.6, 0.92), (0.34, 2.8, 0.06), wood)
    made.object(scene)
    curtains = Mesh("Curtains")
    for middle in (0.05, 3.15):
        curtain(curtains, LEFT + 0.16, middle, 0.62, paints["Curtain"])
    curtains.tube((LEFT + 0.16, -0.4, 2.56), (LEFT + 0.16, 3.6, 2.56), 0.025, paints["Brass"])
    curtains.object(scene)
    garden = Mesh("Garden")
    garden.box((-12.0, 2.0, -0.4), (18.0, 30.0, 0.2), paints["Garden"])
    for i in range(9):
        garden.ball(
            (-9.0 - (i % 3), -4.0 + 1.6 * i, 0.4), 1.3 + 0.2 * (i % 2), paints["Hedge"], rough=0.12, level=3, seed=i
        )
    garden.object(scene)


def curtain(made: Mesh, x: float, middle: float, wide: float, material) -> None:
    """Folds: a wave in plan, hanging straight."""
    n = 28
    plan = [(x + 0.05 * math.sin(i * 1.5), middle - wide / 2 + wide * i / n) for i in range(n + 1)]
    points = [(px, py, z) for z in (0.06, 2.54) for px, py in plan]
    made.add(points, [[i, i + 1, n + 2 + i, n + 1 + i] for i in range(n)], material, smooth=True)


def armchair(scene: bpy.types.Scene, location: Point, turn: float, paints) -> None:
    """Seat, back, two arms with rolls, buttons, a cushion, turned feet."""
    made = Mesh("Armchair")
    cloth, wood = paints["Red velvet"], paints["Walnut"]
    made.box((0, 0, 0.3), (0.92, 0.86, 0.22), cloth)
    made.ball((0, -0.04, 0.46), 0.46, cloth, (0.8, 0.88, 0.24), level=3)
    made.prism(
        [(-0.46, 0.3), (0.46, 0.3), (0.46, 0.95), (0.34, 1.12), (0.0, 1.2), (-0.34, 1.12), (-0.46, 0.95)],
        0.28,
        0.46,
        cloth,
    )
    for x in (-0.48, 0.48):
        made.box((x, -0.02, 0.42), (0.16, 0.88, 0.44), cloth)
        made.tube((x, -0.48, 0.66), (x, 0.42, 0.66), 0.115, cloth, sides=14)
        made.tube((x, -0.485, 0.66), (x, -0.49, 0.66), 0.06, wood, sides=10)
        for y in (-0.36, 0.36):
            made.turned([(0.05, 0.0), (0.035, 0.1), (0.06, 0.2)], wood, (x * 0.9, y, 0.0), sides=10)
    for x in (-0.22, 0.0, 0.22):
        for z in (0.72, 0.94):
            made.ball((x, 0.28, z), 0.025, paints["Gilt"])
    made.at = Matrix.Translation((0.08, 0.12, 0.68)) @ Matrix.Rotation(-0.35, 4, "X") @ Matrix.Rotation(0.2, 4, "Y")
    made.box((0, 0, 0), (0.44, 0.12, 0.4), paints["Cushion"])
    made.object(scene, location, turn)


def side_table(scene: bpy.types.Scene, location: Point, paints) -> None:
    """Round, on one foot; a striped vase with twigs, two books and a cup on it."""
    made = Mesh("Side table")
    wood = paints["Walnut"]
    made.turned(
        [(0.26, 0.0), (0.24, 0.05), (0.05, 0.09), (0.06, 0.3), (0.04, 0.52), (0.09, 0.58), (0.34, 0.6), (0.34, 0.64)],
        wood,
        sides=24,
    )
    made.box((-0.12, -0.12, 0.67), (0.24, 0.17, 0.05), paints["Blue book"], 0.3)
    made.box((-0.13, -0.11, 0.715), (0.22, 0.16, 0.04), paints["Red book"], -0.1)
    made.turned([(0.035, 0.64), (0.045, 0.7), (0.05, 0.73)], paints["Paper"], (0.16, -0.18, 0), sides=14)
    made.object(scene, location)
    vase = Mesh("Vase")
    vase.turned(
        [(0.06, 0.0), (0.1, 0.1), (0.11, 0.18), (0.06, 0.3), (0.045, 0.34), (0.065, 0.37)],
        paints["Vase glaze"],
        sides=20,
    )
    for i in range(9):
        a = math.tau * i / 9
        tip = (0.16 * math.cos(a), 0.16 * math.sin(a), 0.62 + 0.06 * (i % 3))
        vase.tube((0, 0, 0.3), tip, 0.008, paints["Plant leaves"], sides=5)
        vase.ball(tip, 0.05, paints["Red velvet"] if i % 2 else paints["Curtain"], rough=0.2, level=2, seed=i)
    vase.object(scene, (location[0] + 0.08, location[1] + 0.1, 0.64))


def floor_lamp(scene: bpy.types.Scene, location: Point, paints) -> None:
    made = Mesh("Floor lamp")
    brass = paints["Brass"]
    made.turned([(0.17, 0.0), (0.17, 0.03), (0.03, 0.06), (0.018, 0.1), (0.018, 1.45)], brass, sides=18)
    made.ball((0, 0, 1.55), 0.075, paints["Bulb"], level=3)
    shade = [(0.27, 1.38), (0.17, 1.74)]
    sides = 24
    points = [
        (r * math.cos(math.tau * i / sides), r * math.sin(math.tau * i / sides), z)
        for r, z in shade
        for i in range(sides)
    ]
    made.add(
        points,
        [[i, (i + 1) % sides, sides + (i + 1) % sides, sides + i] for i in range(sides)],
        paints["Shade cloth"],
        True,
    )
    made.object(scene, location)
    data = bpy.data.lights.new("Floor lamp light", "POINT")
    data.energy, data.color, data.shadow_soft_size = 26.0, (1.0, 0.78, 0.5), 0.08
    light = bpy.data.objects.new("Floor lamp light", data)
    light.location = (location[0], location[1], 1.66)
    scene.collection.objects.link(light)


def bookcase(scene: bpy.types.Scene, location: Point, paints) -> None:
    """Against the back wall: five shelves, books of many heights, an ornament here and there."""
    luck = random.Random(7)
    made = Mesh("Bookcase")
    wide, high, deep, wood = 1.5, 2.25, 0.34, paints["Walnut"]
    for x in (-wide / 2, wide / 2):
        made.box((x, 0, high / 2), (0.05, deep, high), wood)
    made.box((0, deep / 2 - 0.02, high / 2), (wide, 0.03, high), wood)
    shelves = [0.06 + 0.43 * i for i in range(6)]
    for z in shelves:
        made.box((0, 0, z), (wide, deep, 0.04), wood)
    made.box((0, -0.02, high + 0.03), (wide + 0.16, deep + 0.1, 0.08), wood)
    books = [paints[name] for name in ("Red book", "Blue book", "Green book", "Yellow book", "Plum book")]
    for row, z in enumerate(shelves[:-1]):
        x = -wide / 2 + 0.05
        while x < wide / 2 - 0.1:
            thick, tall = luck.uniform(0.03, 0.065), luck.uniform(0.24, 0.34)
            if luck.random() < 0.08:
                made.turned(
                    [(0.04, 0.0), (0.07, 0.09), (0.03, 0.17)],
                    paints["Terracotta"],
                    (x + 0.09, -0.02, z + 0.02),
                    sides=12,
                )
                x += 0.2
                continue
            made.box((x + thick / 2, -0.02, z + 0.02 + tall / 2), (thick - 0.004, 0.22, tall), luck.choice(books))
            x += thick + (0.12 if luck.random() < 0.05 + 0.02 * row else 0.0)
    made.object(scene, location)


def picture(
    scene: bpy.types.Scene, name: str, centre: Point, size: tuple[float, float], material, paints, turn: float = 0.0
) -> None:
    """A gilt frame, a mount and a painting. It faces -y, turned by `turn`."""
    made = Mesh(name)
    w, h = size
    for x, z, sx, sz in (
        (0, h / 2, w + 0.14, 0.07),
        (0, -h / 2, w + 0.14, 0.07),
        (w / 2, 0, 0.07, h),
        (-w / 2, 0, 0.07, h),
    ):
        made.box((x, -0.03, z), (sx, 0.06, sz), paints["Gilt"])
    made.box((0, -0.012, 0), (w, 0.02, h), paints["Paper"])
    made.box((0, -0.02, 0), (w - 0.12, 0.02, h - 0.12), material)
    made.object(scene, centre, turn)


def wall_clock(scene: bpy.types.Scene, centre: Point, paints) -> None:
    made = Mesh("Wall clock")
    made.at = Matrix.Rotation(math.pi / 2, 4, "X")
    made.turned([(0.2, 0.0), (0.2, 0.05), (0.17, 0.06)], paints["Walnut"], sides=28)
    made.turned([(0.165, 0.06), (0.165, 0.065)], paints["Clock face"], sides=28)
    made.at = Matrix.Identity(4)
    for i in range(12):
        a = math.tau * i / 12
        made.box((0.14 * math.sin(a), -0.07, 0.14 * math.cos(a)), (0.018, 0.01, 0.018), paints["Ink"])
    made.tube((0, -0.075, 0), (0.07, -0.075, 0.05), 0.006, paints["Ink"], sides=6)
    made.tube((0, -0.075, 0), (-0.03, -0.075, 0.125), 0.005, paints["Ink"], sides=6)
    made.object(scene, centre)


def sideboard(scene: bpy.types.Scene, location: Point, paints) -> None:
    """Along the right wall: doors and drawers with knobs, a globe, a clock-work of small things on it."""
    made = Mesh("Sideboard")
    wood = paints["Pine"]
    made.box((0, 0, 0.47), (0.46, 1.8, 0.74), wood)
    made.box((0, 0, 0.86), (0.54, 1.9, 0.05), paints["Walnut"])
    for y in (-0.6, 0.0, 0.6):
        made.box((-0.24, y, 0.38), (0.03, 0.54, 0.46), wood)
        made.box((-0.24, y, 0.73), (0.03, 0.54, 0.16), wood)
        made.ball((-0.28, y, 0.73), 0.028, paints["Brass"])
        made.ball((-0.28, y + 0.2, 0.42), 0.028, paints["Brass"])
    for x in (-0.18, 0.18):
        for y in (-0.82, 0.82):
            made.box((x, y, 0.05), (0.07, 0.07, 0.1), paints["Walnut"])
    made.turned([(0.1, 0.885), (0.09, 0.91), (0.02, 0.93), (0.02, 1.0)], paints["Brass"], (0, 0.55, 0), sides=16)
    for i, name in enumerate(("Green book", "Yellow book", "Plum book", "Blue book")):
        made.box((0.02, -0.75 + 0.06 * i, 1.01), (0.2, 0.05, 0.25 + 0.02 * (i % 3)), paints[name])
    made.object(scene, location)
    globe = Mesh("Globe")
    globe.ball((0, 0, 0), 0.19, paints["Globe"], level=4)
    globe.object(scene, (location[0], location[1] + 0.55, 1.18))


def plant(scene: bpy.types.Scene, location: Point, paints) -> None:
    """A rubber plant in a clay pot."""
    luck = random.Random(3)
    made = Mesh("House plant")
    made.turned([(0.17, 0.0), (0.23, 0.34), (0.26, 0.35), (0.26, 0.41), (0.2, 0.4)], paints["Terracotta"], sides=18)
    made.tube((0, 0, 0.35), (0.02, 0.02, 1.3), 0.03, paints["Walnut"], taper=0.5)
    for i in range(26):
        a, z = i * 2.4, 0.6 + 0.034 * i
        reach = 0.36 - 0.008 * i
        made.at = (
            Matrix.Translation((0, 0, z))
            @ Matrix.Rotation(a, 4, "Z")
            @ Matrix.Rotation(-0.5 - 0.3 * luck.random(), 4, "Y")
        )
        made.ball((reach * 0.6, 0, 0), reach * 0.55, paints["Plant leaves"], (1.0, 0.46, 0.06), level=3)
    made.at = Matrix.Identity(4)
    made.object(scene, location)


def carpet(scene: bpy.types.Scene, paints) -> None:
    made = Mesh("Rug")
    made.box((0, 0, 0.012), (3.0, 3.6, 0.024), paints["Rug"])
    for y in (-1.82, 1.82):
        made.box((0, y, 0.01), (3.0, 0.06, 0.018), paints["Paper"])
    made.object(scene, (0.1, 0.7, 0.0), 0.0)


def rolling_ball(scene: bpy.types.Scene, paints) -> None:
    """Rolls without slipping from the right to the left in front of the chair: turned by way / radius."""
    made = Mesh("Striped ball")
    made.ball((0, 0, 0), BALL, paints["Ball stripes"], level=4)
    ball = made.object(scene)
    ball.rotation_mode = "XYZ"
    span = scene.frame_end - scene.frame_start
    for frame in range(scene.frame_start, scene.frame_end + 1):
        x = 1.45 - 1.75 * (frame - scene.frame_start) / span
        ball.location = (x, 0.55, BALL + 0.024)
        ball.rotation_euler = (0.35, x / BALL, 0.0)
        ball.keyframe_insert("location", frame=frame)
        ball.keyframe_insert("rotation_euler", frame=frame)


def dolly_zoom(scene: bpy.types.Scene) -> None:
    """Rolls in while the lens widens: lens / distance stays, so the subject's size stays. Keyed on every frame."""
    shot = stage.camera(scene, "Dolly zoom", WIDE)
    for frame in range(scene.frame_start, scene.frame_end + 1):
        x = stage.ease((frame - scene.frame_start) / (scene.frame_end - scene.frame_start))
        distance = FAR + (NEAR - FAR) * x
        eye = (SUBJECT[0] - 0.12 * distance, SUBJECT[1] - 0.985 * distance, SUBJECT[2] + 0.12 * distance)
        shot.location = eye
        shot.rotation_euler = stage.aim(eye, SUBJECT)
        shot.data.lens = WIDE * distance / NEAR
        shot.keyframe_insert("location", frame=frame)
        shot.keyframe_insert("rotation_euler", frame=frame)
        shot.data.keyframe_insert("lens", frame=frame)
    scene.frame_set(scene.frame_start)


def daylight(scene: bpy.types.Scene) -> None:
    """Sun through the window, and the sky's light through it as an area light, which finds its way in few samples."""
    stage.sun(scene, (-0.8, -0.25, 0.55), 3.5)
    stage.sky(scene, "#e4ecef", "#b4d2ea", "#5b90c6", "#ffffff", 1.0)
    data = bpy.data.lights.new("Window light", "AREA")
    data.shape, data.size, data.size_y, data.energy, data.color = "RECTANGLE", 2.5, 1.4, 280.0, (0.86, 0.93, 1.0)
    light = bpy.data.objects.new("Window light", data)
    light.location, light.rotation_euler = (LEFT - 0.02, 1.6, 1.62), (0.0, -math.pi / 2, 0.0)
    scene.collection.objects.link(light)
    fill = bpy.data.lights.new("Room light", "AREA")
    fill.size, fill.energy, fill.color = 3.0, 110.0, (1.0, 0.95, 0.88)
    high = bpy.data.objects.new("Room light", fill)
    high.location = (0.4, -2.4, HEIGHT - 0.22)
    scene.collection.objects.link(high)


def build() -> bpy.types.Scene:
    scene = stage.empty_scene("Reading room")
    paints = palette()
    room(scene, paints)
    window(scene, paints)
    carpet(scene, paints)
    armchair(scene, (SUBJECT[0], SUBJECT[1], 0.024), 0.28, paints)
    side_table(scene, (1.15, 1.75, 0.0), paints)
    floor_lamp(scene, (-0.95, 2.25, 0.0), paints)
    bookcase(scene, (1.35, BACK - 0.2, 0.0), paints)
    sideboard(scene, (RIGHT - 0.28, 0.9, 0.0), paints)
    plant(scene, (-2.3, 3.55, 0.0), paints)
    picture(scene, "Picture of hills", (-0.55, BACK - 0.02, 1.85), (1.25, 0.85), paints["Painting of hills"], paints)
    picture(
        scene,
        "Picture of dusk",
        (RIGHT - 0.02, 0.5, 1.75),
        (0.8, 0.62),
        paints["Painting of dusk"],
        paints,
        math.pi / 2,
    )
    picture(
        scene,
        "Picture of the sea",
        (RIGHT - 0.02, -0.9, 1.75),
        (0.8, 0.62),
        paints["Painting of sea"],
        paints,
        math.pi / 2,
    )
    wall_clock(scene, (-1.65, BACK - 0.02, 2.0), paints)
    rolling_ball(scene, paints)
    daylight(scene)
    dolly_zoom(scene)
    return scene


if __name__ == "__main__":
    stage.main(build)
