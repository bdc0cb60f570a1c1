"""Materials on surfaces: they stick, fade before they alias, cover what was asked; outlines are where things end."""

import math

import numpy as np
import pytest
import torch

from engine import conditions
from engine.conditions import SLICE
from engine.geometry import anchors, cameras, patterns
from engine.models import materials, shading
from engine.train import captions, clips

WALL = torch.tensor([0.0, -1.0, 0.0])


def wall(across: torch.Tensor, height: torch.Tensor, pixel: float = 1e-4) -> patterns.Surface:
    """Points of a wall in the xz plane."""
    point = torch.stack([across, torch.zeros_like(across), height], -1)
    return patterns.surface(point, WALL.expand_as(point), torch.full(across.shape, pixel))


def paint(name: str, **fields) -> patterns.Paint:
    shares = tuple(float(n == name) for n in patterns.NAMES)
    return patterns.Paint(**{"shares": shares, "on_up": 1.0, "on_side": 1.0, "cover": 1.0, "lines": False, **fields})


def spread(n: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, generator=generator) * 3, torch.rand(n, generator=generator) * 3


@pytest.mark.parametrize("name", patterns.NAMES)
def test_a_pattern_shows_near_and_is_gone_where_it_would_alias(name):
    """Tone varies between pixels when they are small against it; what is left when they are large is smooth."""
    x, z = spread()
    near, _ = patterns.draw(paint(name), wall(x, z, 1e-4))
    far, line = patterns.draw(paint(name), wall(x, z, 1.0))
    beside, _ = patterns.draw(paint(name), wall(x + 2e-3, z, 1.0))
    assert near.isfinite().all() and near.std() > 0.1
    assert (far - beside).abs().max() < 0.08
    assert line.max() < 0.25


def test_joints_cover_as_much_from_afar_as_they_do_near():
    """A joint thinner than a pixel keeps its share of the pixel: courses of bricks do not flicker while they recede."""
    x, z = spread(20000)
    shares = [patterns.tiles(wall(x, z, pixel))[1].mean().item() for pixel in (1e-4, 5e-4)]
    exact = 1 - (1 - 0.07) ** 2
    assert shares == pytest.approx([exact, exact], rel=0.25)


def test_courses_of_bricks_lie_level_and_every_other_one_is_shifted():
    x = torch.linspace(0, 1, 2000)
    height = 1 / 72
    _, first = patterns.brick(wall(x, torch.full_like(x, 0.5 * height)))
    _, second = patterns.brick(wall(x, torch.full_like(x, 1.5 * height)))
    upright = [x[1:][(line[1:] > 0.5) & (line[:-1] <= 0.5)] for line in (first, second)]
    assert len(upright[0]) == pytest.approx(1 / (3 * height), abs=1.5)
    phase = [torch.remainder(u[3] / (3 * height), 1).item() for u in upright]
    assert abs(abs(phase[0] - phase[1]) - 0.5) < 0.1


def test_the_same_block_is_seen_from_every_side():
    """Blocks are cut out of space: the tone at an edge does not depend on which of its faces is looked at."""
    point = torch.rand(500, 3, generator=torch.Generator().manual_seed(1))
    pixel = torch.full((500,), 1e-4)
    tones = [patterns.cells(patterns.surface(point, torch.tensor(n).expand_as(point), pixel))[0]
             for n in ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))]  # fmt: skip
    assert torch.equal(tones[0], tones[1]) and torch.equal(tones[0], tones[2])


@pytest.mark.parametrize(("on_up", "on_side"), [(1.0, 0.0), (0.0, 1.0)])
def test_a_material_lies_where_it_was_asked_for(on_up, on_side):
    x, z = spread()
    point = torch.stack([x, z, torch.zeros_like(x)], -1)
    for up, share in ((1.0, on_up), (0.0, on_side)):
        normal = torch.tensor([math.sqrt(1 - up**2), 0.0, up]).expand_as(point)
        s = patterns.surface(point, normal, torch.full_like(x, 1e-3))
        assert patterns.cover(paint("brick", on_up=on_up, on_side=on_side), s, normal[:, 2]).mean() == share


def test_outlines_are_where_things_end_and_nowhere_on_a_plane():
    """A floor under a low camera has no lines however steep it is; a box before it has its silhouette and its edges."""
    H, W = 48, 64
    K = torch.tensor([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], dtype=torch.float64)
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    c2w[2, 3] = 0.4
    _, ray = cameras.rays(K[None], c2w[None], H, W)
    t = torch.where(ray[..., 2] < -1e-3, -0.4 / ray[..., 2].clamp_max(-1e-3), torch.inf)
    depth = t * ray[..., 1]
    normal = torch.tensor([0.0, 0, 1]).expand(1, H, W, 3) * torch.isfinite(depth)[..., None]
    index = torch.isfinite(depth).long()
    floor = patterns.outline(depth.float(), normal.float(), index)
    assert floor.max() == 0
    depth[0, 30:40, 20:40], index[0, 30:40, 20:40] = 0.5, 2
    normal[0, 30:40, 20:40] = torch.tensor([0.0, -1, 0])
    box = patterns.outline(depth.float(), normal.float(), index)
    assert box[0, 34, 18:22].max() > 0.5 and box[0, 34, 38:42].max() > 0.5
    assert box[0, 33:37, 24:36].max() == 0


def test_nothing_asked_for_leaves_the_conditions_empty():
    def maps(**fields):
        return clips.render(captions.Brief(place="street", **fields), 1, 32, 48, np.random.default_rng(1)).maps

    drawn = [SLICE[name] for name in ("tone", "line", "cover", "stroke", "pigment", "outline")]
    assert all(maps()[:, s].abs().max() == 0 for s in drawn)
    assert all(maps(paint="brick", style="pencil")[:, s].abs().max() > 0 for s in drawn)


def test_a_material_turns_with_its_object():
    """A box that turns half a round shows the same bricks on the side that was seen before."""
    H, W, F = 8, 8, 2
    turn = torch.eye(4, dtype=torch.float64).repeat(1, F, 1, 1)
    turn[0, 1, :2, :2] = torch.tensor([[0.0, -1], [1, 0]])
    rest = torch.tensor([0.0, -1, 0]).expand(1, H, W, 3)
    now = torch.tensor([1.0, 0, 0]).expand(1, H, W, 3)
    index = torch.ones(F, H, W, dtype=torch.long)
    found = anchors.normals(torch.cat([rest, now]), index, torch.tensor([1]), turn, 0)
    assert torch.allclose(found[1], rest[0], atol=1e-6)


def test_a_shot_from_another_camera_finds_the_same_bricks():
    """Two shots of one wall, from about as far: the material is laid from the world's origin, not the camera's."""
    def drawn(scale: float) -> torch.Tensor:
        maps = torch.zeros(1, conditions.TOTAL, 16, 16)
        anchor = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 4
        conditions.put_paint(maps, paint("brick"), anchor=anchor, normal=WALL.expand(1, 16, 16, 3), scale=scale,
                             footprint=torch.full((1, 16, 16), 1e-3), depth=torch.ones(1, 16, 16),
                             index=torch.ones(1, 16, 16, dtype=torch.long))  # fmt: skip
        return maps

    assert torch.equal(drawn(6.1), drawn(9.7)) and not torch.equal(drawn(6.1), drawn(13.0))


@pytest.mark.parametrize("name", list(materials.MATERIALS)[1:])
def test_every_material_changes_the_picture_and_a_brief_without_one_does_not(name):
    def picture(**fields):
        return clips.render(captions.Brief(place="street", **fields), 1, 48, 80, np.random.default_rng(2)).picture

    assert (picture(paint=name) - picture()).abs().mean() > 0.015


@pytest.mark.parametrize("style", list(materials.HANDS)[1:])
def test_hands_draw(style):
    values = captions.look(captions.Brief(style=style), np.random.default_rng(0))
    look = shading.unpack(torch.from_numpy(captions.raw(values))[None])
    for name in shading.DRAWN:
        assert float(look[name]) == pytest.approx(getattr(materials.HANDS[style], name))
    clip = clips.render(captions.Brief(place="blocks", style=style), 1, 48, 80, np.random.default_rng(2))
    assert clip.picture.isfinite().all() and clip.picture.std() > 0.1
