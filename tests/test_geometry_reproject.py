"""Reprojection against scenes whose answer is known: ray-cast here in float64, visibility by a second ray."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.geometry import cameras
from engine.geometry.reproject import STRICT, View, gather, look, reproject

F64 = torch.float64
WIDTH, HEIGHT = 160, 96


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small arrays on a busy machine: waiting for a second thread costs more than it does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- a small ray caster ---

@dataclass(frozen=True)
class Thing:
    """A unit sphere, a box of half-size 1 or the plane z = 0, in its own space; index = its place in the list + 1."""

    shape: str
    matrix: torch.Tensor


def place(x: float, y: float, z: float, size: float = 1.0, turn: float = 0.0, tilt: float = 0.0) -> torch.Tensor:
    m = torch.eye(4, dtype=F64)
    a = torch.tensor([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]], dtype=F64)
    b = torch.tensor([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]], dtype=F64)
    m[:3, :3] = a @ b * size
    m[:3, 3] = torch.tensor([x, y, z], dtype=F64)
    return m


def look_at(eye: tuple, at: tuple, offset: float = 0.0) -> torch.Tensor:
    eye, at = (torch.tensor(p, dtype=F64) for p in (eye, at))
    z = torch.nn.functional.normalize(at - eye, dim=0)
    x = torch.nn.functional.normalize(torch.linalg.cross(z, torch.tensor([0.0, 0, 1], dtype=F64)), dim=0)
    c2w = torch.eye(4, dtype=F64)
    c2w[:3, :3] = torch.stack((x, torch.linalg.cross(z, x), z), 1)
    c2w[:3, 3] = eye + offset
    return c2w


def hit(shape: str, o: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """Ray parameter (...,) of the first hit, inf for none. o, d (...,3) in the thing's space."""
    if shape == "plane":
        t = -o[..., 2] / d[..., 2]
        return torch.where(t > 1e-9, t, torch.inf)
    if shape == "sphere":
        a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
        root = (b * b - a * c)
        t = (-b - root.clamp_min(0).sqrt()) / a
        return torch.where((root > 0) & (t > 1e-9), t, torch.inf)
    one, two = (-1 - o) / d, (1 - o) / d
    enter, leave = torch.minimum(one, two).amax(-1), torch.maximum(one, two).amin(-1)
    return torch.where((enter < leave) & (enter > 1e-9), enter, torch.inf)


def cast(things: list[Thing], o: torch.Tensor, d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """-> ray parameter and index (0 = sky) of the first hit."""
    best, index = torch.full(d.shape[:-1], torch.inf, dtype=F64), torch.zeros(d.shape[:-1], dtype=torch.int32)
    for i, thing in enumerate(things, 1):
        inverse = torch.linalg.inv(thing.matrix)
        t = hit(thing.shape, o @ inverse[:3, :3].mT + inverse[:3, 3], d @ inverse[:3, :3].mT)
        index = torch.where(t < best, i, index)
        best = torch.minimum(best, t)
    return best, index


def vectors(K: torch.Tensor, c2w: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """World vectors to depth 1, all in float64."""
    v, u = torch.meshgrid(torch.arange(height, dtype=F64) + 0.5, torch.arange(width, dtype=F64) + 0.5, indexing="ij")
    local = torch.stack(((u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], torch.ones_like(u)), -1)
    return local @ c2w[:3, :3].mT


def shoot(things: list[Thing], c2w: torch.Tensor, focal: float = 120.0, width: int = WIDTH,
          height: int = HEIGHT) -> tuple[View, torch.Tensor]:
    """-> View with indices and matrices; points (H,W,3) float64 in the space of the thing that was hit (sky: ray)."""
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=F64)
    d = vectors(K, c2w, width, height)
    depth, index = cast(things, c2w[:3, 3].expand_as(d), d)
    points = d.clone()
    for i, thing in enumerate(things, 1):
        inverse = torch.linalg.inv(thing.matrix)
        world = c2w[:3, 3] + depth[..., None] * d
        points = torch.where((index == i)[..., None], world @ inverse[:3, :3].mT + inverse[:3, 3], points)
    ids = torch.arange(1, len(things) + 1)
    return View(depth.float(), K, c2w, None, index, ids, torch.stack([t.matrix for t in things])), points


def truth(source_things: list[Thing], source: View, target: View, points: torch.Tensor):
    """-> source pixel (H,W,2) and whether the source sees that very point (H,W), by a ray of its own."""
    world = points.clone()
    for i, thing in enumerate(source_things, 1):
        moved = points @ thing.matrix[:3, :3].mT + thing.matrix[:3, 3]
        world = torch.where((target.index == i)[..., None], moved, world)
    sky = target.index == 0
    direction = torch.where(sky[..., None], points, world - source.c2w[:3, 3])
    local = direction @ source.c2w[:3, :3]
    uv = source.K[(0, 1), (0, 1)] * local[..., :2] / local[..., 2:] + source.K[:2, 2]
    height, width = source.depth.shape
    t, _ = cast(source_things, source.c2w[:3, 3].expand_as(direction), direction)
    seen = torch.where(sky, t == torch.inf, (t - 1).abs() < 1e-7)
    return uv, seen & (local[..., 2] > 0) & (uv >= 0).all(-1) & (uv[..., 0] < width) & (uv[..., 1] < height)


def near_an_edge(source: View, uv: torch.Tensor, pixels: int) -> torch.Tensor:
    """(H,W): is a source silhouette (another index, or the box's far side) within so many pixels of uv?"""
    index = source.index.float()[None, None]
    reach = 2 * pixels + 1
    top = torch.nn.functional.max_pool2d(index, reach, 1, pixels)
    low = -torch.nn.functional.max_pool2d(-index, reach, 1, pixels)
    edge = (top != low)[0, 0]
    height, width = edge.shape
    x, y = (uv[..., 0].clamp(0, width - 1).long(), uv[..., 1].clamp(0, height - 1).long())
    return edge[y, x]


def ramp(view: View) -> torch.Tensor:
    """An image whose colour is its own pixel coordinate: bilinear sampling of it is exact."""
    height, width = view.depth.shape
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((u, v))


def inner(source: View, uv: torch.Tensor) -> torch.Tensor:
    """Where all four neighbours of uv exist, so that the ramp is not clamped at the border."""
    height, width = source.depth.shape
    low, high = torch.tensor([0.5, 0.5]), torch.tensor([width - 0.5, height - 0.5])
    return ((uv >= low) & (uv <= high)).all(-1)


STREET = [Thing("plane", place(0, 0, 0)), Thing("box", place(0.5, 2, 0.7, 0.7, 0.5)),
          Thing("sphere", place(-1.2, 1.0, 0.6, 0.6)), Thing("box", place(-0.5, 5, 1, 1, -0.3)),
          Thing("sphere", place(1.6, 4, 1.9, 0.4))]
MOVED = STREET[:1] + [Thing("box", place(0.9, 1.6, 0.9, 0.7, 0.9, 0.2))] + STREET[2:4] + \
    [Thing("sphere", place(0.9, 3.2, 1.6, 0.4, 0.7, 0.3))]
EYES = {"near": ((0, -3, 1.6), (0, 3, 0.7)), "left": ((-1.5, -2.5, 1.9), (0.2, 3, 0.6)),
        "high": ((0.4, -2.0, 3.2), (0, 3, 0.4)), "far": ((0.8, -5, 1.4), (0, 3, 0.9))}


def facing(target: View, points: torch.Tensor, things: list[Thing], source_things: list[Thing],
           source: View) -> torch.Tensor:
    """Exact cosine between each target pixel's normal and the direction to the source camera, in the thing's space."""
    out = torch.ones(points.shape[:-1], dtype=F64)
    for i, thing in enumerate(source_things, 1):
        normal = {"plane": torch.tensor([0.0, 0, 1], dtype=F64).expand_as(points), "sphere": points,
                  "box": torch.where(points.abs() >= points.abs().amax(-1, keepdim=True), points, 0.0)}[thing.shape]
        to_camera = source.c2w[:3, 3] - (points @ thing.matrix[:3, :3].mT + thing.matrix[:3, 3])
        turned = normal @ thing.matrix[:3, :3].mT
        out = torch.where(target.index == i, torch.nn.functional.cosine_similarity(turned, to_camera, dim=-1), out)
    return out


# --- what must hold ---

@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(("a", "b"), [("near", "left"), ("near", "high"), ("high", "far"), ("far", "near")])
def test_visibility_and_position_are_exact(a, b, moved, offset):
    """No occluded point is called seen; every seen point 3 px inside its surface is; and it is where it should be."""
    shift = place(offset, offset, offset)
    then, now = ([Thing(t.shape, shift @ t.matrix) for t in things] for things in (STREET, MOVED if moved else STREET))
    source, _ = shoot(then, look_at(*EYES[a], offset))
    target, points = shoot(now, look_at(*EYES[b], offset))
    uv, seen = truth(then, source, target, points)
    out, valid = reproject(ramp(source), source, target)
    cosine = facing(target, points, now, then, source)

    wrong = valid & ~seen
    assert wrong.sum() == 0, f"{wrong.sum()} of {valid.sum()} pixels are claimed but hidden"
    due = seen & ~near_an_edge(source, uv, 3) & ~near_an_edge(target, ramp(target).permute(1, 2, 0), 1) & (cosine > .2)
    missing = due & ~valid
    assert missing.sum() <= 0.002 * due.sum(), f"{missing.sum()} of {due.sum()} clearly seen pixels are missing"
    assert due.sum() > 1500
    exact = valid & inner(source, uv)
    error = (out.permute(1, 2, 0).double() - uv)[exact].abs().max()
    assert error < 2e-3, f"{error} px"


def test_without_indices_only_the_tolerance_is_lost():
    """Without the object pass a hidden point may pass only if it lies within the tolerance behind what hides it."""
    source, _ = shoot(STREET, look_at(*EYES["near"]))
    target, points = shoot(STREET, look_at(*EYES["left"]))
    source, target = (replace(view, index=None) for view in (source, target))
    _, seen = truth(STREET, source, shoot(STREET, target.c2w)[0], points)
    _, valid = reproject(ramp(source), source, target)
    wrong = (valid & ~seen).sum()
    assert wrong <= 0.002 * valid.sum()
    assert (valid & seen).sum() > 0.8 * seen.sum()


def test_a_view_of_itself_is_itself():
    view, _ = shoot(STREET, look_at(*EYES["near"]))
    image = torch.rand(5, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    out, valid = reproject(image, view, view, replace(STRICT, erode=0, grazing=0.0))
    assert (out - image).abs()[:, valid].max() < 1e-3
    assert valid.float().mean() > 0.93
    assert (out[:, ~valid] == 0).all()


@pytest.mark.parametrize("erode", [0, 1, 3])
def test_silhouettes_never_leak(erode):
    """The source is painted flat, one colour per object: what arrives on an object is exactly its own colour."""
    source, _ = shoot(STREET, look_at(*EYES["near"]))
    target, _ = shoot(MOVED, look_at(*EYES["far"]))
    out, valid = reproject(source.index[None].float(), source, target, replace(STRICT, erode=erode))
    assert valid.sum() > 3000
    assert torch.equal(out[0][valid].round(), target.index[valid].float())
    assert (out[0][valid] - target.index[valid]).abs().max() < 1e-5


def test_erosion_keeps_the_stated_distance():
    """With erode = n, no sample's four pixels come nearer than n to one of another surface."""
    wall_and_post = [Thing("plane", place(0, 6, 0, 1, 0, math.pi / 2)), Thing("box", place(0, 0, 0, 0.5))]
    source, _ = shoot(wall_and_post, look_at((0, -4, 0), (0, 0, 0)))
    for erode in (0, 1, 2):
        _, valid = reproject(ramp(source), source, source, replace(STRICT, erode=erode))
        border = near_an_edge(source, ramp(source).permute(1, 2, 0), 1)
        lost = (~valid & (source.depth < 100)).float().sum() / border.sum()
        assert (erode == 0) == bool((valid & border).any())
        assert lost < 1.1 * (erode + 1)


def test_the_back_of_a_sheet_is_not_its_front():
    """Two cameras on both sides of one plane: the depths agree, the sides do not."""
    sheet = [Thing("plane", place(0, 0, 0, 1, 0, math.pi / 2))]
    front, _ = shoot(sheet, look_at((0, -3, 0), (0, 0, 0)))
    back, _ = shoot(sheet, look_at((0.2, 3, 0), (0, 0, 0)))
    other, _ = shoot(sheet, look_at((0.5, -3, 0.2), (0, 0, 0)))
    assert not reproject(ramp(front), front, back)[1].any()
    assert reproject(ramp(front), front, other)[1].float().mean() > 0.7


def test_an_object_that_turned_its_back_shows_none_of_its_front():
    """A thin board turns by 180 degrees: seen again only by a camera that went around with it."""
    board = place(0, 0, 0, 1)
    board[1, 1] = 1e-4
    turned = place(0, 0, 0, 1, math.pi) @ board
    eye, across = look_at((0.3, -4, 0), (0, 0, 0)), look_at((-0.2, 4, 0), (0, 0, 0))
    source, _ = shoot([Thing("box", board)], eye)
    for c2w, share in ((eye, 0.0), (across, 0.8)):
        target, _ = shoot([Thing("box", turned)], c2w)
        _, valid = reproject(ramp(source), source, target)
        there = target.index == 1
        assert (valid & there).sum() / there.sum() == pytest.approx(share, abs=0.2 if share else 0)


def test_a_horizon_is_a_silhouette():
    """Floor is painted 1, sky 0: nearness runs into the sky's 0 without a step, and still do not mix."""
    floor = [Thing("plane", place(0, 0, 0))]
    source, _ = shoot(floor, look_at((0, 0, 1), (0, 5, 0.6)))
    target, _ = shoot(floor, look_at((0.1, 0.1, 1.1), (0.3, 5, 0.7)))
    painted = source.index[None].float()
    source, target = replace(source, index=None), replace(target, index=None)
    out, valid = reproject(painted, source, target, replace(STRICT, grazing=0.0, erode=0))
    ground = target.depth.isfinite()
    assert (out[0][valid & ground] > 0.999).all() and (valid & ground).sum() > 3000
    assert (out[0][valid & ~ground] < 0.001).all() and (valid & ~ground).sum() > 2000


def test_normals_from_depth_hold_up_to_the_silhouette():
    """A box's front before a wall: the pixels beside the jump take their slope from their own side."""
    wall = [Thing("plane", place(0, 6, 0, 1, 0.3, math.pi / 2)), Thing("box", place(0, 0, 0, 0.8))]
    view, points = shoot(wall, look_at((0, -4, 0), (0, 0, 0)))
    other, _ = shoot(wall, look_at((-2, -4, 1), (0, 0, 0)))
    exact = facing(view, points, wall, wall, other)
    assert (look(other, view).facing - exact).abs().max() < 1e-3


def test_grazing_surfaces_are_dropped_at_the_stated_angle():
    floor = [Thing("plane", place(0, 0, 0))]
    source, _ = shoot(floor, look_at((0, 0, 1), (0, 5, 0.6)))
    target, points = shoot(floor, look_at((0, 0, 3), (0, 6, 0)))
    cosine = facing(target, points, floor, floor, source)
    _, seen = truth(floor, source, target, points)
    for limit in (0.1, 0.3):
        _, valid = reproject(ramp(source), source, target, replace(STRICT, grazing=limit, stretch=1.0))
        assert valid.any() and not valid[(cosine < limit - 0.01) & (target.index > 0)].any()
        assert valid[seen & (cosine > limit + 0.01) & (target.index > 0)].float().mean() > 0.99


def test_a_far_floor_stays_where_the_target_sees_it_as_obliquely():
    """Dropped is what would be stretched more than `stretch` allows, not what is oblique in both views."""
    floor = [Thing("plane", place(0, 0, 0))]
    source, _ = shoot(floor, look_at((0, 0, 1), (0, 5, 0.6)))
    for height, kept in ((1.2, True), (4.0, False)):
        target, points = shoot(floor, look_at((0, 0.5, height), (0, 30, 0)))
        cosine = facing(target, points, floor, floor, source)
        _, seen = truth(floor, source, target, points)
        oblique = seen & (target.index > 0) & (cosine < 0.08) & (cosine > 0.03)
        assert oblique.sum() > 300
        share = reproject(ramp(source), source, target)[1][oblique].float().mean()
        assert share > 0.97 if kept else share == 0


def test_given_normals_and_those_from_depth_agree():
    source, _ = shoot(STREET, look_at(*EYES["near"]))
    target, points = shoot(STREET, look_at(*EYES["left"]))
    normal = torch.zeros_like(points)
    for i, thing in enumerate(STREET, 1):
        own = {"plane": torch.tensor([0.0, 0, 1], dtype=F64).expand_as(points), "sphere": points,
               "box": torch.where(points.abs() >= points.abs().amax(-1, keepdim=True), points, 0.0)}[thing.shape]
        turned = torch.nn.functional.normalize(own @ thing.matrix[:3, :3].mT, dim=-1)
        normal = torch.where((target.index == i)[..., None], turned, normal)
    _, guessed = reproject(ramp(source), source, target)
    _, given = reproject(ramp(source), source, replace(target, normal=normal.half()))
    assert (guessed != given).float().mean() < 0.01


def test_sky_turns_with_the_camera_and_is_never_a_surface():
    source, _ = shoot(STREET, look_at((0, -3, 1.6), (0, 3, 2.0)))
    target, points = shoot(STREET, look_at((0.5, -3, 1.6), (0.3, 3, 2.1)))
    uv, seen = truth(STREET, source, target, points)
    out, valid = reproject(ramp(source), source, target)
    sky = valid & (target.index == 0)
    assert sky.sum() > 1000
    assert (out.permute(1, 2, 0).double() - uv)[sky & inner(source, uv)].abs().max() < 2e-3
    assert not (sky & ~seen).any()
    assert not reproject(ramp(source), source, target, replace(STRICT, sky=False))[1][target.index == 0].any()


def test_what_is_behind_the_source_is_not_valid():
    source, _ = shoot(STREET, look_at((0, 9, 1.6), (0, 20, 1.0)))
    target, _ = shoot(STREET, look_at(*EYES["near"]))
    out, valid = reproject(ramp(source), source, target)
    assert not valid[(target.index != 0) & (target.depth < 10)].any()
    assert out.isfinite().all()
    source, _ = shoot(STREET[2:3], look_at((0, 9, 1.6), (0, 20, 1.6)))
    target, _ = shoot(STREET[2:3], look_at((0, 9, 1.6), (0, -20, 1.6)))
    assert (target.index == 0).any()
    assert not reproject(ramp(source), source, target)[1].any(), "neither is the sky in its back"


def test_an_object_that_left_takes_its_pixels_with_it():
    """Objects are matched by index, not by row; the source's list is in another order and longer."""
    source, _ = shoot(STREET, look_at(*EYES["near"]))
    target, _ = shoot(MOVED, look_at(*EYES["left"]))
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled = replace(source, object_index=torch.cat((source.object_index[order], torch.tensor([99]))),
                       matrix=torch.cat((source.matrix[order], torch.eye(4, dtype=F64)[None])))
    straight, valid = reproject(ramp(source), source, target)
    again, valid2 = reproject(ramp(source), shuffled, target)
    assert torch.equal(valid, valid2) and torch.equal(straight, again)
    blind = reproject(ramp(source), replace(source, matrix=None), target)[1]
    box = target.index == 2
    assert (valid & box).sum() > 2 * (blind & box).sum()


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_any_input_gives_finite_output(h, w, height, width, seed):
    """Frames down to one pixel; depths, colours and normals with NaN, inf, 0 and negatives in them."""
    g = torch.Generator().manual_seed(seed)
    odd = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -1.0, 1e-30, 1e30, 1.0, 2.0, 2.0])

    def strange(*shape: int) -> torch.Tensor:
        return odd[torch.randint(len(odd), shape, generator=g)]

    K = torch.tensor([[3.0, 0, 1], [0, 3, 1], [0, 0, 1]])
    side = torch.eye(4)
    side[:3, 3] = torch.randn(3, generator=g)
    source = View(strange(h, w), K, torch.eye(4), strange(h, w, 3))
    target = View(strange(height, width), K, side, strange(height, width, 3))
    out, valid = reproject(strange(3, h, w), source, target)
    assert out.shape == (3, height, width) and valid.shape == (height, width) and valid.dtype == torch.bool
    assert out.isfinite().all()
    assert (out[:, ~valid] == 0).all()
    both, seen = gather([(strange(3, h, w), source), (strange(3, height, width), target)], target)
    assert both.isfinite().all() and (both[:, ~seen] == 0).all()


def test_one_pixel_sees_one_pixel():
    K = torch.tensor([[2.0, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    view = View(torch.full((1, 1), 3.0), K, torch.eye(4))
    out, valid = reproject(torch.full((1, 1, 1), 0.25), view, view)
    assert valid.all() and out.item() == 0.25


def test_nothing_seen_is_an_empty_mask():
    source, _ = shoot(STREET, look_at(*EYES["near"]))
    target, _ = shoot(STREET, look_at(*EYES["left"]))
    out, valid = reproject(ramp(source), replace(source, depth=torch.full_like(source.depth, torch.nan)), target)
    assert not valid.any() and (out == 0).all()
    with pytest.raises(ValueError, match="no source"):
        gather([], target)


def test_gather_takes_the_closer_squarer_view_and_fills_from_the_other():
    target, _ = shoot(STREET, look_at(*EYES["near"]))
    close, _ = shoot(STREET, look_at((-0.1, -2.9, 1.6), (-1.2, 3, 0.7)))
    far, _ = shoot(STREET, look_at((0, -9, 2.2), (0, 3, 0.7)))
    paint = [(torch.full((1, HEIGHT, WIDTH), value), view) for value, view in ((1.0, far), (2.0, close))]
    out, valid = gather(paint, target)
    backwards, valid2 = gather(paint[::-1], target)
    assert torch.equal(out, backwards) and torch.equal(valid, valid2)
    alone = [reproject(colour, view, target)[1] for colour, view in paint]
    assert torch.equal(valid, alone[0] | alone[1])
    both = alone[0] & alone[1] & (target.depth < 8)     # farther floor is seen squarer from the higher, far camera
    assert (out[0][both].round() == 2).float().mean() > 0.98 and both.sum() > 2000
    assert (out[0][alone[0] & ~alone[1]].round() == 1).all() and (alone[0] & ~alone[1]).any()


def test_scores_are_best_for_the_view_itself():
    view, _ = shoot(STREET, look_at(*EYES["near"]))
    floor = look(view, view).score[-5:, WIDTH // 2]
    closer, _ = shoot(STREET, view.c2w, focal=360.0)
    wider, _ = shoot(STREET, view.c2w, focal=40.0)
    for other in (closer, wider):
        score = look(other, view).score[HEIGHT // 2, WIDTH // 2]
        same = look(view, view).score[HEIGHT // 2, WIDTH // 2]
        assert score.item() == pytest.approx(same.item() - math.log(3), abs=1e-3)
    assert (floor <= 0).all() and floor.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_agrees():
    source, _ = shoot(STREET, look_at(*EYES["near"]))
    target, _ = shoot(MOVED, look_at(*EYES["left"]))
    there = [View(*(getattr(v, f).cuda() if getattr(v, f) is not None else None for f in v.__dataclass_fields__))
             for v in (source, target)]
    out, valid = reproject(ramp(source), source, target)
    gpu_out, gpu_valid = reproject(ramp(source).cuda(), *there)
    assert (valid != gpu_valid.cpu()).float().mean() < 1e-3
    both = valid & gpu_valid.cpu()
    assert (out - gpu_out.cpu())[:, both].abs().max() < 1e-2


def test_flow_and_reprojection_are_the_same_walk():
    """Target to source: the sampled pixel is the target's pixel plus its static flow."""
    source, _ = shoot(STREET, look_at(*EYES["near"]))
    target, _ = shoot(STREET, look_at(*EYES["left"]))
    out, valid = reproject(ramp(source), source, target)
    moved = ramp(target).permute(1, 2, 0) + cameras.flow(target.depth, target.K, target.c2w, source.K, source.c2w)
    keep = valid & inner(source, moved)
    assert (out.permute(1, 2, 0) - moved)[keep].abs().max() < 2e-3
