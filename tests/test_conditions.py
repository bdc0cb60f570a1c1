"""Noisy passes become smooth within a surface, and nowhere else."""

import math

import pytest
import torch

from engine import conditions

SIDE = 96
WIDE = (*conditions.CALM, *conditions.FURTHER)


def flat():
    """A wall straight before the camera: distances (1, H, W), normals (1, H, W, 3)."""
    normal = torch.zeros(1, SIDE, SIDE, 3)
    normal[..., 1] = -1
    return torch.full((1, SIDE, SIDE), 4.0), normal


@pytest.mark.parametrize("steps, deviation", [(conditions.CALM, 0.06), (WIDE, 0.03)])
def test_one_ray_a_pixel_becomes_smooth_without_a_lattice(steps, deviation):
    """Its deviation falls, and neighbours differ by a small part of it: a weave of gaps would stand out there."""
    rays = (torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    calm = conditions.calm(rays, *flat(), steps)[:, 20:-20, 20:-20]
    assert calm.mean() == pytest.approx(0.3, abs=0.03) and calm.std() < deviation
    for dim in (1, 2):
        assert calm.diff(dim=dim).std() < 0.5 * calm.std()


@pytest.mark.parametrize("what", ["turned", "farther"])
def test_a_surface_keeps_to_itself(what):
    distance, normal = flat()
    if what == "turned":
        normal[:, :, SIDE // 2 :] = torch.tensor([1.0, 0.0, 0.0])
    else:
        distance[:, :, SIDE // 2 :] *= 2
    value = torch.zeros(1, SIDE, SIDE)
    value[:, :, SIDE // 2 :] = 1
    calm = conditions.calm(value, distance, normal, WIDE)
    assert (calm - value).abs().max() < 0.01


def test_the_other_side_of_the_picture_is_not_beside_this_one():
    value = torch.zeros(1, SIDE, SIDE)
    value[:, :, -1] = 1
    assert conditions.calm(value, *flat(), WIDE)[:, :, : SIDE // 2].max() == 0


@pytest.mark.parametrize("exponent", range(1, 12))
def test_powers_by_squaring(exponent):
    x = torch.linspace(0, 1.2, 7, dtype=torch.float64)
    assert torch.allclose(conditions.power(x, exponent), x**exponent, rtol=1e-12)


def test_values_that_are_calmed_together_come_out_as_alone():
    values = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    together = conditions.calm(values, *flat(), WIDE)
    for value, calm in zip(values, together, strict=True):
        assert torch.allclose(conditions.calm(value, *flat(), WIDE), calm, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 96), (1, 96, 1)])
def test_pictures_smaller_than_a_step_are_calmed_too(shape):
    normal = torch.zeros(*shape, 3)
    normal[..., 1] = -1
    value = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    calm = conditions.calm(value, torch.full(shape, 4.0), normal, WIDE)
    assert calm.shape == shape and calm.std() < 0.5 * value.std()


WATT = 1 / (4 * math.pi**2)  # irradiance over pi of a point lamp, one unit away


@pytest.mark.parametrize("form, rendered", [
    ({}, (0.3143, 0.2298, 0.1172, 0.0305)),
    ({"kind": "area", "area": 0.25}, (1.2296, 0.8203, 0.3389, 0.0563)),
    ({"kind": "area", "area": 1.0}, (1.1622, 0.8015, 0.3435, 0.0573)),
    ({"kind": "spot", "angle": math.radians(90), "blend": 0.15}, (0.3143, 0.2298, 0.0, 0.0)),
    ({"kind": "area", "area": 0.04, "angle": math.radians(60)}, (11.8, 1.458, 0.0, 0.0)),
])  # fmt: skip
def test_lamps_light_a_floor_as_cycles_renders_it(form, rendered):
    """A lamp of 100 W two metres over a floor of albedo 0.5, right below it and 1, 2 and 4 m aside: Cycles in Blender
    4.5.15, direct light alone. The spot's edge, which Cycles softens by the lamp's size, is left out."""
    place = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [4, 0, 0]])
    back = {"back": (0.0, 0.0, 1.0)} if form else {}
    lamp = conditions.Lamp((0.0, 0.0, 2.0), (100 * WATT,) * 3, **form, **back)
    made = 0.5 * conditions.irradiance(place, torch.tensor([0.0, 0, 1]).expand(4, 3), [lamp])[:, 0]
    near = 0.25 if "angle" in form and form["kind"] == "area" else 0.09
    assert made.tolist() == pytest.approx(rendered, rel=near, abs=0.002)


def test_nothing_is_lit_behind_an_area_lamp():
    lamp = conditions.Lamp((0.0, 0.0, 2.0), (1.0,) * 3, "area", (0.0, 0.0, 1.0), 1.0)
    above = conditions.irradiance(torch.tensor([[0.0, 0, 3]]), torch.tensor([[0.0, 0, -1]]), [lamp])
    assert above.abs().max() == 0


def test_panes_are_glossy_to_networks_whatever_lies_behind_them():
    depth, normal = torch.full((1, 4, 4), 2.0), torch.zeros(1, 4, 4, 3)
    glass = torch.zeros(1, 4, 4, 4)
    glass[:, :, :2, 1], glass[:, :, :2, 3] = -1, 1
    camera = {"K": torch.tensor([[[4.0, 0, 2], [0, 4, 2], [0, 0, 1]]]), "c2w": torch.eye(4)[None]}
    told = conditions.maps(
        depth=depth, normal=normal, base=None, gloss=torch.full((1, 4, 4), 0.25), emission=None, glass=glass,
        anchor=torch.zeros(1, 4, 4, 3), origin=torch.zeros(3), scale=2.0, **camera,
    )  # fmt: skip
    gloss = told[0, conditions.SLICE["gloss"].start]
    assert (gloss[:, :2] == 1).all() and (gloss[:, 2:] == 0.25).all()
    assert (told[0, conditions.SLICE["mirror"].start] == 0.25).all()
    assert torch.equal(told[0, conditions.SLICE["glass"]], glass[0, ..., :3].movedim(-1, 0))
    assert conditions.SLICE["glass"].start >= conditions.WIDTH  # the head alone reads it


@pytest.mark.parametrize("rough", [0.16, 0.27, 0.4])
@pytest.mark.parametrize("area", [0.0, 0.3, 2.0])
def test_a_mirror_shows_as_much_light_as_a_lamp_sends_there(area, rough):
    """Its radiance over all directions is the lamp's irradiance, however large the lamp; the middle is where the
    mirrored ray meets it. `power` is irradiance over pi, as a matt surface throws it back."""
    lamp = conditions.Lamp((0.0, 0.0, 3.0), (2.0,) * 3, "area" if area else "point", (0.0, 0.0, 1.0), area)
    turn = torch.linspace(0, math.pi / 2, 400, dtype=torch.float64)  # of a mirror ray away from the lamp
    mirrored = torch.stack([turn.sin(), 0 * turn, turn.cos()], -1)
    normal = torch.tensor([0.0, 0, 1], dtype=torch.float64).expand(400, 3)
    ray = mirrored * torch.tensor([1.0, 1, -1], dtype=torch.float64)
    rough = torch.full((400,), rough, dtype=torch.float64)
    seen = conditions.highlights(torch.zeros(400, 3, dtype=torch.float64), normal, ray, rough, [lamp])
    everywhere = torch.trapezoid(seen * 2 * math.pi * turn.sin(), turn)
    sent = math.pi * 2.0 * (4 / (9 + area / math.pi) if area else 1 / 9)
    assert everywhere == pytest.approx(sent, rel=0.02) and seen.argmax() == 0


def test_lamps_show_in_metal_and_in_glass_alone():
    depth, normal = torch.full((1, 4, 4), 2.0), torch.tensor([0.0, 0, -1]).expand(1, 4, 4, 3)
    gloss, glass = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, 4)
    gloss[:, 0], glass[:, 1, :, 2], glass[:, 1, :, 3] = 1.0, -1.0, 1.0
    told = conditions.maps(
        depth=depth, normal=normal, base=None, gloss=gloss, emission=None, glass=glass,
        anchor=torch.tensor([0.0, 0, 2]).expand(1, 4, 4, 3), origin=torch.zeros(3), scale=2.0,
        K=torch.tensor([[[40.0, 0, 2], [0, 40, 2], [0, 0, 1]]]), c2w=torch.eye(4)[None],
        lamps=[conditions.Lamp((0.0, 0.0, 0.0), (1.0,) * 3)],
    )  # fmt: skip
    shown = told[0, conditions.SLICE["highlight"].start]
    assert (shown[0] > 1).all() and (shown[1, 1:3] > 1).all() and not shown[2:].any()


@pytest.mark.parametrize("away", [0.0, 50.0])
def test_glass_mirrors_lamps_where_it_stands(away):
    """As a mirror would there, whatever lies behind it and however far the shot's origin, from which points and lamps
    are told, lies from the world's."""
    c2w, K = torch.eye(4)[None], torch.tensor([[[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]])
    c2w[0, 0, 3] = away
    lamps = [conditions.Lamp((0.3, 0.2, -1.0), (1.0,) * 3)]
    facing = torch.nn.functional.normalize(torch.tensor([0.1, 0.1, -1.0]), dim=0).expand(1, 8, 8, 3)

    def shown(depth, glass, gloss):
        depth = torch.full((1, 8, 8), depth)
        _, ray = conditions.cameras.rays(K, c2w, 8, 8)
        told = conditions.maps(
            depth=depth, normal=facing, base=None, gloss=torch.full_like(depth, gloss), emission=None, glass=glass,
            rough=torch.zeros_like(depth), anchor=ray * (depth / ray[..., 2])[..., None], origin=torch.zeros(3),
            scale=2.0, K=K, c2w=c2w, lamps=lamps,
        )  # fmt: skip
        return told[0, conditions.SLICE["highlight"].start]

    pane = torch.cat([facing, torch.full((1, 8, 8, 1), 1.5)], -1)
    mirror, behind = shown(1.5, None, 1.0), shown(4.0, None, 1.0)
    assert mirror.max() > 1 and (mirror - behind).abs().max() > 0.5
    assert torch.allclose(shown(4.0, pane, 0.0), mirror, atol=1e-3)
