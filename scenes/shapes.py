"""Meshes from boxes, prisms and turned profiles, many parts in one object; UVs in metres. Knows no material's nodes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import bpy
from mathutils import Matrix, Vector

Point = tuple[float, float, float]


class Mesh:
    """One object in the making. `at` places what is added next; every part brings its material."""

    def __init__(self, name: str):
        self.name = name
        self.points: list[Vector] = []
        self.faces: list[list[int]] = []
        self.slots: list[int] = []
        self.smooth: list[bool] = []
        self.materials: list[bpy.types.Material] = []
        self.at = Matrix.Identity(4)

    def slot(self, material: bpy.types.Material) -> int:
        if material not in self.materials:
            self.materials.append(material)
        return self.materials.index(material)

    def add(self, points: Iterable[Point], faces: Iterable[Iterable[int]], material, smooth: bool = False) -> None:
        start, slot = len(self.points), self.slot(material)
        self.points += [self.at @ Vector(p) for p in points]
        for face in faces:
            self.faces.append([start + i for i in face])
            self.slots.append(slot)
            self.smooth.append(smooth)

    def box(self, centre: Point, size: Point, material, turn: float = 0.0) -> None:
        """`turn` radians about the vertical through its centre."""
        rotation = Matrix.Rotation(turn, 3, "Z")
        corners = [Vector((x * size[0] / 2, y * size[1] / 2, z * size[2] / 2)) for x, y, z in CORNERS]
        self.add([tuple(rotation @ c + Vector(centre)) for c in corners], BOX, material)

    def prism(self, outline: Iterable[tuple[float, float]], y0: float, y1: float, material) -> None:
        """An outline in x and z, counter-clockwise seen from -y, pushed from y0 to y1."""
        profile = list(outline)
        n = len(profile)
        points = [(x, y0, z) for x, z in profile] + [(x, y1, z) for x, z in profile]
        sides = [[i, (i + 1) % n, n + (i + 1) % n, n + i] for i in range(n)]
        flipped = [list(reversed(side)) for side in sides]
        self.add(points, [list(range(n)), list(range(2 * n - 1, n - 1, -1)), *flipped], material)

    def turned(
        self, profile: Iterable[tuple[float, float]], material, centre: Point = (0, 0, 0), sides: int = 16, smooth=True
    ) -> None:
        """A profile of (radius, height) turned about the vertical, closed at both ends."""
        rings = list(profile)
        points = [
            (centre[0] + r * math.cos(a), centre[1] + r * math.sin(a), centre[2] + z)
            for r, z in rings
            for a in (math.tau * i / sides for i in range(sides))
        ]
        faces = [
            [k * sides + i, k * sides + (i + 1) % sides, (k + 1) * sides + (i + 1) % sides, (k + 1) * sides + i]
            for k in range(len(rings) - 1)
            for i in range(sides)
        ]
        self.add(points, faces, material, smooth)
        caps = [list(range(sides - 1, -1, -1)), [(len(rings) - 1) * sides + i for i in range(sides)]]
        self.add(points, caps, material)

    def tube(self, start: Point, end: Point, radius: float, material, sides: int = 10, taper: float = 1.0) -> None:
        """A straight rod between two points."""
        along = Vector(end) - Vector(start)
        kept = self.at
        self.at = self.at @ Matrix.Translation(start) @ along.to_track_quat("Z", "Y").to_matrix().to_4x4()
        self.turned([(radius, 0.0), (radius * taper, along.length)], material, sides=sides)
        self.at = kept

    def ball(
        self,
        centre: Point,
        radius: float,
        material,
        shape: Point = (1, 1, 1),
        rough: float = 0.0,
        level: int = 2,
        seed: int = 0,
    ) -> None:
        """A sphere; `rough` pushes its points in and out, as leaves and boulders have it."""
        points, faces = icosphere(level)
        luck = random.Random(seed)
        lumps = [1 + rough * (luck.random() * 2 - 1) for _ in points]
        placed = [
            tuple(Vector(centre) + Vector(p[i] * shape[i] * radius * k for i in range(3)))
            for p, k in zip(points, lumps)
        ]
        self.add(placed, faces, material, smooth=not rough)

    def sheet(
        self, xs: list[float], ys: list[float], height: Callable[[float, float], float], material, smooth=True
    ) -> None:
        points = [(x, y, height(x, y)) for y in ys for x in xs]
        n = len(xs)
        faces = [
            [j * n + i, j * n + i + 1, (j + 1) * n + i + 1, (j + 1) * n + i]
            for j in range(len(ys) - 1)
            for i in range(n - 1)
        ]
        self.add(points, faces, material, smooth)

    def object(self, scene: bpy.types.Scene, location: Point = (0, 0, 0), turn: float = 0.0) -> bpy.types.Object:
        mesh = bpy.data.meshes.new(self.name)
        mesh.from_pydata([tuple(p) for p in self.points], [], self.faces)
        for material in self.materials:
            mesh.materials.append(material)
        mesh.polygons.foreach_set("material_index", self.slots)
        mesh.polygons.foreach_set("use_smooth", self.smooth)
        mesh.update()
        unwrap(mesh)
        made = bpy.data.objects.new(self.name, mesh)
        made.location = location
        made.rotation_euler = (0.0, 0.0, turn)
        scene.collection.objects.link(made)
        return made


CORNERS = [(-1, -1, -1), (1, -1, -1), (1, 1, -1), (-1, 1, -1), (-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)]
BOX = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]


def unwrap(mesh: bpy.types.Mesh) -> None:
    """Metres on every face: U level, V up the slope, so that courses of bricks and tiles lie as a mason lays them."""
    layer = mesh.uv_layers.new(name="UVMap")
    for face in mesh.polygons:
        normal = face.normal
        across = Vector((-normal.y, normal.x, 0.0))
        across = across.normalized() if across.length > 0.05 else Vector((1.0, 0.0, 0.0))
        up = normal.cross(across)
        for loop in face.loop_indices:
            point = mesh.vertices[mesh.loops[loop].vertex_index].co
            layer.data[loop].uv = (point.dot(across), point.dot(up))


def icosphere(level: int) -> tuple[list[Vector], list[tuple[int, int, int]]]:
    golden = (1 + 5**0.5) / 2
    raw = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0), (0, -1, golden), (0, 1, golden)]
    raw += [(0, -1, -golden), (0, 1, -golden), (golden, 0, -1), (golden, 0, 1), (-golden, 0, -1), (-golden, 0, 1)]
    points = [Vector(p).normalized() for p in raw]
    faces = [
        (0, 11, 5),
        (0, 5, 1),
        (0, 1, 7),
        (0, 7, 10),
        (0, 10, 11),
        (1, 5, 9),
        (5, 11, 4),
        (11, 10, 2),
        (10, 7, 6),
        (7, 1, 8),
    ]
    faces += [
        (3, 9, 4),
        (3, 4, 2),
        (3, 2, 6),
        (3, 6, 8),
        (3, 8, 9),
        (4, 9, 5),
        (2, 4, 11),
        (6, 2, 10),
        (8, 6, 7),
        (9, 8, 1),
    ]
    for _ in range(level - 1):
        faces = split(points, faces)
    return points, faces


def split(points: list[Vector], faces: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Each triangle into four; the new points are pushed out to the unit sphere."""
    middles: dict[tuple[int, int], int] = {}

    def middle(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in middles:
            points.append((points[a] + points[b]).normalized())
            middles[key] = len(points) - 1
        return middles[key]

    finer = []
    for a, b, c in faces:
        ab, bc, ca = middle(a, b), middle(b, c), middle(c, a)
        finer += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return finer
