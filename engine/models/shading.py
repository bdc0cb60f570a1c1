"""The head that shades the scene itself: a renderer with unknowns.

    picture = tone(fog(base' (sky light + sun max(0, n.l) sunlit + lamps) , reflections, + glow))

What the scene knows (base colour, normals, sun's azimuth, cast shadows, lamps) comes in exact; what the prompt decides
(the look: some thirty numbers of a clip) comes from the network. Differentiable, no parameters of its own.
Shapes: B batch, F frames, H W pixels; colours in scene-linear units with the exposure folded in, pictures in -1..1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ..conditions import SLICE, distance_from_channel, hemisphere, power
from ..geometry import patterns
from ..geometry.value_noise import value_noise
from ..prompt.words import COLOUR_WORDS, MATERIALS, STYLES, named
from . import materials

# the look: name -> (size, kind); log: exp of the raw value, share: sigmoid, free: as it is, class: the highest score
LOOK: dict[str, tuple[int, str]] = {
    "sky_light": (3, "log"),  # light from above
    "ground_light": (3, "log"),  # light from below
    "sun": (3, "log"),
    "fog": (3, "log"),
    "zenith": (3, "log"),
    "horizon": (3, "log"),
    "window": (3, "log"),  # glow of lit panes
    "fog_density": (1, "log"),  # per scale of distance
    "lamp": (1, "log"),  # strength of the scene's own lamps and emitters
    "height": (1, "free"),  # of the sun, radians above the horizon
    "snow": (1, "share"),
    "wet": (1, "share"),
    "glow": (1, "share"),  # of the sky around the sun
    "lit": (1, "share"),  # of the panes
    "cloud": (1, "share"),
    "contrast": (1, "free"),  # log of the exponent of the tone curve
    "saturation": (1, "free"),  # 0 keeps, -1 is grey
    "tint": (3, "free"),  # log gain of the finished picture
    # which of materials.py the prompt asks for; a class: as many scores as there are rows
    "material": (len(materials.MATERIALS), "class"),
    "dye": (len(materials.DYES), "class"),
    "hand": (len(materials.HANDS), "class"),
}
CLASSES = ("material", "dye", "hand")
DRAWN = ("posterise", "watercolour", "pencil", "outline")
LOOK_WIDTH = sum(size for size, _ in LOOK.values())
SNOW = (0.88, 0.90, 0.95)

LEVELS = 5  # of a posterised picture
DYED = 0.92  # of a thing's colour that is the dye's, where a prompt gives it one
THROUGH = 0.85  # of panes and metals shows through a material
SHINE = 3.0  # radiance of a thing that glows, over its colour
GLOW = 4.0  # radiance of joints that glow, over their colour
HORIZON, METAL_HORIZON = 4.0, 1.3  # how sharply what is mirrored changes from ground to sky
PANE, PRINCIPLED = 0.57, 0.5  # roughness from which on a surface is no pane; what a shader has that nobody touched
METAL = 0.93  # gloss from which on a surface is more and more of bare metal: all that leaves it is mirrored
GLASS = 0.04  # of light is mirrored by one side of it, seen from before
FILL = 0.5  # of what surfaces throw back reaches the deepest corner
OUTDOORS = 0.08  # mean share of the sky that surfaces see, from which on a scene is outdoors
MOST_EXPOSED = 2.5
NO_CLOUD_BELOW = 0.02  # of the ray's height
NIGHT = 0.06  # zenith below which stars show
CLOUD_SIZES = (1.2, 3.7)
STARS_ACROSS, STAR_SHARE = 250, 0.0012  # cells of the sky per radian, and how many hold a star

Look = dict[str, Tensor]  # name -> (B, 1, size, 1, 1)


def unpack(raw: Tensor) -> Look:
    """(B, LOOK_WIDTH) raw numbers -> the look in the shader's units."""
    look, start = {}, 0
    for name, (size, kind) in LOOK.items():
        value = raw[:, start : start + size].float()
        start += size
        if kind == "log":
            value = value.clamp(-9, 3.5).exp()
        elif kind == "share":
            value = value.sigmoid()
        look[name] = value[:, None, :, None, None]
    rows = (look.pop(name).flatten(1).argmax(1) for name in CLASSES)
    look |= {name: value[:, None, :, None, None] for name, value in materials.numbers(*rows).items()}
    look["contrast"] = look["contrast"].clamp(-1, 1)
    look["saturation"] = look["saturation"].clamp(-1, 1)
    return look


def paint(look: Look) -> patterns.Paint:
    """What patterns.py has to draw for the look of one clip."""
    wanted = ("pattern", "on_up", "on_side", "paint", *DRAWN)
    one = {name: look[name][0].flatten().tolist() for name in wanted}
    by_hand = any(one[name][0] > 0 for name in DRAWN)
    return patterns.Paint(tuple(one["pattern"]), one["on_up"][0], one["on_side"][0], one["paint"][0], by_hand)


NOT_SEEN = ("height", "material", "dye")  # where the sun stands and what walls are of is the scene's and the prompt's


def of_a_picture(raw: Tensor) -> Tensor:
    """Raw numbers (B, LOOK_WIDTH) as far as a reference tells them, 0 elsewhere."""
    parts = raw.split([size for size, _ in LOOK.values()], 1)
    return torch.cat([part * float(name not in NOT_SEEN) for name, part in zip(LOOK, parts, strict=True)], 1)


GRADE = ("contrast", "saturation", "tint", "hand")  # how a picture is finished, whatever light it shows


def by_reference(raw: Tensor, seen: Tensor, tells_light: bool, tells_style: bool) -> Tensor:
    """Raw numbers (1, LOOK_WIDTH) of a prompt with those of a reference: its light and weather where the prompt says
    none, its finish where the prompt names no style. What a reference cannot tell stays the prompt's."""
    sizes, out = [size for size, _ in LOOK.values()], []
    for name, own, shown in zip(LOOK, raw.split(sizes, 1), seen.split(sizes, 1), strict=True):
        said = tells_style if name in GRADE else tells_light
        out.append(own if said or name in NOT_SEEN else shown)
    return torch.cat(out, 1)


LIGHT = ("sky_light", "ground_light", "sun", "zenith", "horizon")
MOVED = 0.05  # of a raw number, from which on it says something


def tells_light(added: Tensor) -> bool:
    """Whether what is added to a raw look (1, LOOK_WIDTH) says what the light is like."""
    parts = dict(zip(LOOK, added.split([size for size, _ in LOOK.values()], 1), strict=True))
    return any(float(parts[name].abs().max()) > MOVED for name in LIGHT)


def without(raw: Tensor, avoided: Tensor, plain: Tensor) -> Tensor:
    """Raw numbers (1, LOOK_WIDTH) less what the prompt and the words to be avoided have in common: by how much either
    of them moves a number away from what it is under a plain prompt, in the same direction."""
    moved, away = raw - plain, avoided - plain
    return raw - torch.where(moved * away > 0, moved.sign() * torch.minimum(moved.abs(), away.abs()), 0)


def only_named(raw: Tensor, prompt: str, avoided: str = "") -> Tensor:
    """Raw numbers (1, LOOK_WIDTH) with a material, a dye or a hand only where a word of the prompt can mean it and none
    of those to be avoided does.

    What the prompt names is known; the network decides among that, and whether it is meant (a red coat is no red wall).
    """
    out, start = raw.clone(), 0
    tables = {"material": MATERIALS, "dye": COLOUR_WORDS, "hand": STYLES}
    rows = {"material": list(materials.MATERIALS), "dye": list(materials.DYES), "hand": list(materials.HANDS)}
    for name, (size, kind) in LOOK.items():
        if kind == "class":
            may = named(prompt, tables[name]) - named(avoided, tables[name])
            barred = [i for i, row in enumerate(rows[name]) if row != "none" and row not in may]
            out[:, [start + i for i in barred]] = -torch.inf
        start += size
    return out


def of_its_own(material: str, dye: str, glows: bool, mirrors: bool) -> dict[str, Tensor]:
    """One thing's values (1, size): a material, maybe dyed; or its own surface in another colour. `mirrors`: it is of
    metal or glass itself, which then does not show through."""
    row, shade = list(materials.MATERIALS).index(material), list(materials.DYES).index(dye)
    made = materials.numbers(torch.tensor([row]), torch.tensor([shade]), torch.tensor([0]))
    own = {name: made[name] for name in (*OWN, "pattern", "on_up", "on_side")}
    alone = material == "none" and dye != "none"
    shares = {"dye_share": DYED * alone, "shine": float(glows), "through": 0.0 if mirrors else THROUGH}
    own |= {name: torch.tensor([[value]]) for name, value in shares.items()}
    return own | {"dye": torch.tensor([materials.DYES[dye]])}


def with_sky(look: Look, cloud_seed: Tensor) -> Look:
    """The look with the sky of a seed (B,): which clouds and stars there are. A negative seed is the mirrored sky."""
    return {**look, "cloud_seed": cloud_seed.float().view(-1, 1, 1, 1, 1)}


def clouds(ray: Tensor, look: Look) -> Tensor:
    """Log gain of the clear sky (B, F, 3, H, W) by clouds, and by stars at night; stands still in the world."""
    seed = look["cloud_seed"]
    turned = torch.cat([ray[:, :, :1] * torch.sign(seed), ray[:, :, 1:]], 2)
    up = turned[:, :, 2:3]
    plane = turned / up.clamp_min(0.05) + 0
    coarse, fine = (value_noise((plane * size + seed.abs()).movedim(2, -1))[0][:, :, None] for size in CLOUD_SIZES)
    cover = ((coarse * 0.65 + fine * 0.35 - (0.72 - 0.45 * look["cloud"])) * 4).clamp(0, 1)
    cover = cover * ((up - NO_CLOUD_BELOW) * 8).clamp(0, 1)
    cloud = look["horizon"] * 0.75 + look["zenith"] * 0.2 + look["sun"] * 0.12
    gain = torch.log(cloud / (look["zenith"] + (look["horizon"] - look["zenith"]) * 0.3)).clamp(-1.2, 1.5)
    cells = (turned * STARS_ACROSS).floor()
    spark = torch.remainder(
        torch.sin(cells[:, :, :1] * 12.9 + cells[:, :, 1:2] * 78.2 + cells[:, :, 2:] * 37.7) * 4375.5, 1
    )
    dark = look["zenith"].mean(2, keepdim=True) < NIGHT
    star = (spark > 1 - STAR_SHARE) & (up > 0.05) & (cover < 0.2) & dark
    return cover * gain + star * 3.0


def is_cloudy(maps: Tensor, look: Look) -> bool:
    """Whether these frames show a sky that is not the scene's own: indoors nobody pays for clouds."""
    return "world" not in look and bool((maps[:, :, SLICE["sky"]] > 0.5).any())


def sun_direction(height: Tensor, azimuth: Tensor) -> Tensor:
    """Toward the sun, world z up. height and azimuth broadcast, radians -> (..., 3) along dim 2 of (B, 1, 1, 1, 1)."""
    return torch.cat([azimuth.cos() * height.cos(), azimuth.sin() * height.cos(), height.sin()], 2)


def to_linear(srgb: Tensor) -> Tensor:
    return srgb.clamp(0, 1) ** 2.2


def tone(colour: Tensor, look: Look) -> Tensor:
    """Scene-linear -> picture in -1..1: a filmic curve, then contrast, saturation and tint."""
    c = colour.clamp_min(0)
    c = (c * (2.51 * c + 0.03) / (c * (2.43 * c + 0.59) + 0.14)).clamp(1e-5, 1) ** (1 / 2.2)
    c = 0.5 + (c - 0.5) * look["contrast"].exp()
    grey = c.mean(2, keepdim=True)
    c = grey + (c - grey) * (1 + look["saturation"])
    return 2 * c * look["tint"].exp() - 1


def world(direction: Tensor, picture: Tensor) -> Tensor:
    """The scene's own surroundings in a direction (1, F, 3, H, W), by their picture (1, 3, h, w); it lies as
    engine/suns.py says."""
    x, y, z = direction[0].movedim(1, 0)
    seam = torch.cat([picture[..., -1:], picture, picture[..., :1]], -1)  # left and right meet
    across = torch.atan2(x, y) / math.pi * picture.shape[-1] / seam.shape[-1]
    down = -torch.asin(z.clamp(-1, 1)) / (math.pi / 2)
    grid = torch.stack([across, down], -1)
    found = functional.grid_sample(seam.expand(len(grid), -1, -1, -1), grid, padding_mode="border", align_corners=False)
    return found[None]


def sky(direction: Tensor, sun: Tensor, look: Look) -> Tensor:
    """Sky in a direction (B, F, 3, H, W): the scene's own where the look holds it, else a clear one, zenith to horizon
    with a glow around the sun."""
    if "world" in look:
        return world(direction, look["world"])
    low = power(1 - direction[:, :, 2:3].clamp(0, 1), 4)
    toward = (direction * sun).sum(2, keepdim=True).clamp(0, 1)
    halo = look["glow"] * (0.14 * power(toward, 8) + 0.1 * power(toward, 64))
    return look["zenith"] + (look["horizon"] - look["zenith"]) * low + look["sun"] * halo


def around(
    direction: Tensor, sun: Tensor, facts: dict[str, Tensor], look: Look, sharp: Tensor | float = HORIZON
) -> Tensor:
    """What a surface mirrors from a direction: the sky as far as it sees it, else what other surfaces throw back."""
    free = (facts["open"] / hemisphere(facts["normal"][:, :, 2:3]).clamp_min(0.05)).clamp(0, 1)
    seen = free * (0.5 + direction[:, :, 2:3] * sharp).clamp(0, 1)
    return look["ground_light"] + seen * (sky(direction, sun, look) - look["ground_light"])


def _shares(facts: dict[str, Tensor], look: Look, drift: Tensor) -> tuple[Tensor, Tensor]:
    """How much of each pixel is under snow and how much it mirrors."""
    up = facts["normal"][:, :, 2:3]
    snow = look["snow"] * ((up - 0.25) * 2 + drift).clamp(0, 1)
    facing = (facts["ray"] * facts["normal"]).sum(2, keepdim=True).abs().clamp(0, 1)
    fresnel = power(1 - facing, 5)
    mirror = facts["mirror"] * (0.35 + 0.65 * fresnel)
    puddle = look["wet"] * (up - 0.6).clamp(0, 0.4) / 0.4 * (0.08 + 0.8 * fresnel)
    return snow, torch.maximum(mirror, puddle) * (1 - snow)


def _metal(gloss: Tensor) -> Tensor:
    """Share of each pixel that is of bare metal. One at its edge is so as far as it is glossy: its colour is a mean."""
    metal = ((gloss - METAL) / (1 - METAL)).clamp(0, 1)
    beside = functional.max_pool2d(metal.flatten(0, 1), 3, 1, 1).unflatten(0, metal.shape[:2])
    return torch.maximum(metal, beside * gloss)


def _panes(
    maps: Tensor, facts: dict[str, Tensor], sun: Tensor, look: Look, highlight: Tensor
) -> tuple[Tensor, Tensor] | None:
    """How much of each pixel clear glass mirrors, and what it adds: on both of its sides (Schlick 1994). A rim is
    thinner than a pixel, whose normal is one ray's: neighbours are averaged."""
    normal = maps[:, :, SLICE["glass"]].float()
    if not bool(normal.any()):
        return None
    along = (facts["ray"] * normal).sum(2, keepdim=True)
    there = (normal != 0).any(2, keepdim=True)
    once = GLASS + (1 - GLASS) * power((1 - along.abs()).clamp(0, 1), 5)
    free = torch.maximum(facts["open"], hemisphere(normal[:, :, 2:3]) * look.get("outdoors", torch.zeros_like(along)))
    mirrored = facts["ray"] - 2 * along * normal
    share = there * 2 * once / (1 + once)
    added = share * (around(mirrored, sun, {**facts, "normal": normal, "open": free}, look) + highlight)
    both = torch.cat([share, added], 2).flatten(0, 1)
    both = functional.avg_pool2d(both, 3, 1, 1, count_include_pad=False).unflatten(0, share.shape[:2])
    return both[:, :, :1], both[:, :, 1:]


def in_place(look: Look, maps: Tensor) -> Look:
    """The look with how its sky is shared out in this scene: a street that sees little sky is exposed for what it sees,
    and indoors what came in through windows is everywhere. A look that is in place stays as it is. maps
    (B, F, C, H, W), of some frames."""
    if "outdoors" in look:
        return look
    facts = {name: maps[:, :, SLICE[name]].float() for name in ("sky", "normal", "ao", "open")}
    solid = 1 - facts["sky"]
    count = solid.sum((1, 2, 3, 4), keepdim=True).clamp_min(1)
    plain, seen = (
        (value * solid).sum((1, 2, 3, 4), keepdim=True) / count
        for value in (hemisphere(facts["normal"][:, :, 2:3]) * facts["ao"], facts["open"])
    )
    outdoors = (seen > OUTDOORS).float()
    return {**look, "outdoors": outdoors, "exposed": (plain / seen.clamp_min(OUTDOORS)).clamp(0.5, MOST_EXPOSED)}


def sky_share(facts: dict[str, Tensor], look: Look) -> Tensor:
    """Share of a surface's surroundings (B, F, 1, H, W) that is sky, as far as the picture is exposed for it."""
    plain = hemisphere(facts["normal"][:, :, 2:3]) * facts["ao"]
    if "outdoors" not in look:
        return plain
    return look["outdoors"] * (facts["open"] * look["exposed"]).clamp(0, 1) + (1 - look["outdoors"]) * plain


def painted(albedo: Tensor, facts: dict[str, Tensor], look: Look, pane: Tensor) -> tuple[Tensor, Tensor]:
    """Albedo under the prompt's material, and its share of each pixel. Panes and metals of the scene show through, but
    where the prompt speaks of that very thing."""
    through = look.get("through", torch.full_like(look["paint"], THROUGH))
    cover = look["paint"] * facts["cover"] * (1 - through * facts["mirror"]) * (1 - through * pane.clamp(0, 1))
    tone, line = facts["tone"], facts["line"]
    material = look["paint_colour"] * (1 + 0.55 * tone).clamp_min(0.15)
    material = material + line * (look["joint_colour"] - material)
    return albedo + cover * (material.clamp(0, 0.95) - albedo), cover


OWN = ("paint", "paint_colour", "joint_colour", "paint_gloss", "paint_glow")  # of the look, what a thing has for itself
GREY = torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)
DEEP, USUAL = 0.15, 0.35  # of a dyed surface: how bright its darkest parts are; the grey that takes the dye as it is


def of_things(facts: dict[str, Tensor], look: Look) -> Look:
    """The look with a value for every pixel where things have their own: rows of `look["own"]` (N, size), name by name,
    for slots 1 to N; slot 0 has the scene's."""
    if "own_dye" not in look:
        return look
    slot, out = facts["slot"][:, :, 0].long(), dict(look)
    for name in (*OWN, "dye_share", "dye", "shine", "through"):
        plain = torch.full_like(look[f"own_{name}"][:1], THROUGH if name == "through" else 0.0)
        scene = look[name][0].flatten()[None] if name in OWN else plain
        out[name] = torch.cat([scene, look[f"own_{name}"]])[slot].movedim(-1, 2)
    return out


def dyed(albedo: Tensor, look: Look) -> Tensor:
    """A surface in another colour: what is light and dark in it stays so."""
    if "dye_share" not in look:
        return albedo
    bright = (albedo * GREY.to(albedo)).sum(2, keepdim=True)
    colour = look["dye"] * ((bright + DEEP) / (USUAL + DEEP)).clamp(0.3, 1.6)
    return albedo + look["dye_share"] * (colour.clamp(0, 0.95) - albedo)


def drawn(picture: Tensor, maps: Tensor, look: Look) -> Tensor:
    """The finished picture (B, F, 3, H, W) in -1..1 as a hand would draw it: flat tones, washes, strokes, outlines."""
    if all(float(look[name].detach().max()) <= 0 for name in DRAWN):
        return picture
    stroke, pigment, line = (maps[:, :, SLICE[name]].float() for name in ("stroke", "pigment", "outline"))
    c = (picture + 1) / 2
    value = c.amax(2, keepdim=True).clamp(1e-3, 1)
    flat = (value * LEVELS + 0.35).floor().clamp_min(0.4) / LEVELS
    c = c * (1 + look["posterise"] * (flat / value - 1))
    wash = 1 - (1 - c.clamp(0, 1)) ** 1.1 * (0.6 + 0.55 * pigment)
    c = c + look["watercolour"] * (wash - line * 0.22 * pigment - c)
    ink, paper = look["ink"], look["paper"]
    grey = c.mean(2, keepdim=True).clamp(0, 1)
    chalk = paper.mean(2, keepdim=True) < ink.mean(2, keepdim=True)  # draws the light
    tonal = torch.where(chalk, grey, 1 - grey)
    mark = ((tonal * 1.15 - stroke) * 4).clamp(0, 1) * (0.35 + 0.5 * tonal)
    c = c + look["pencil"] * (paper + (ink - paper) * mark - c)
    halo = functional.avg_pool2d(line.flatten(0, 1), 9, 1, 4, count_include_pad=False).unflatten(0, line.shape[:2])
    bright = ((ink.mean(2, keepdim=True) - 0.5) * 2).clamp(0, 1) * (1 - look["pencil"])
    c = c + look["outline"] * line * (ink - c) + look["outline"] * bright * halo * ink * 0.8
    return 2 * c - 1


def shade(maps: Tensor, base: Tensor, look: Look, azimuth: Tensor, fields: dict[str, Tensor]) -> Tensor:
    """Conditions (B, F, C, H, W), base colour (B, F, 3, H, W) sRGB -> picture (B, F, 3, H, W) in -1..1.

    fields: `drift` of snow, `pane` share of lit pane, `cloud` further log gain of the sky, each (B, F, 1 or 3, H, W);
    `clouds` where they are known already.
    azimuth: (B, 1, 1, 1, 1) radians, of the scene's sun.
    """
    facts = {
        name: maps[:, :, SLICE[name]].float()
        for name in ("distance", "sky", "ray", "normal", "gloss", "emission", "sunlit", "lamps",
                     "tone", "line", "cover", "ao", "open", "slot", "mirror", "rough", "highlight")
    }  # fmt: skip
    sun = sun_direction(look["height"], azimuth)
    normal, ray = facts["normal"], facts["ray"]
    fields = {**fields, "pane": fields["pane"] * ((PANE - facts["rough"]) / (PANE - PRINCIPLED)).clamp(0, 1)}
    look = of_things(facts, look)
    albedo, cover = painted(dyed(to_linear(base), look), facts, look, fields["pane"])
    shining = albedo * look["shine"] * SHINE if "shine" in look else 0.0
    own = facts["mirror"]
    facts["mirror"] = own + cover * (look["paint_gloss"] - own)
    snow, mirror = _shares(facts, look, fields["drift"])
    highlight = look["lamp"] * (facts["highlight"].exp() - 1)
    panes = _panes(maps, facts, sun, look, highlight)
    shown = highlight if panes is None else highlight * (panes[0] == 0)
    albedo = albedo * (1 - 0.35 * look["wet"])
    albedo = albedo + snow * (torch.tensor(SNOW, device=maps.device).view(3, 1, 1) - albedo)
    sunlight = look["sun"] * (normal * sun).sum(2, keepdim=True).clamp_min(0) * facts["sunlit"]
    open_ = sky_share(facts, look)
    daylight = look["sky_light"] * open_ + look["ground_light"] * (1 - open_) * (FILL + (1 - FILL) * facts["ao"])
    lamps = look["lamp"] * (facts["lamps"].exp() - 1)
    colour = albedo * (daylight + sunlight + lamps)
    mirrored = ray - 2 * (ray * normal).sum(2, keepdim=True) * normal
    metal = _metal(own) * (1 - cover) * (1 - snow)
    mirror = mirror + metal * (1 - mirror)
    pale = 0.35 * (1 - metal)
    reflected = around(mirrored, sun, facts, look, HORIZON + metal * (METAL_HORIZON - HORIZON)) + shown
    colour = colour + mirror * ((pale + (1 - pale) * albedo) * reflected - colour)
    colour = (
        colour + fields["pane"] * look["lit"] * look["window"] + (0.3 + look["lamp"]) * (facts["emission"].exp() - 1)
    )
    colour = colour + cover * look["paint_glow"] * facts["line"] * look["joint_colour"] * GLOW + shining
    fog = 1 - torch.exp(-look["fog_density"] * distance_from_channel(facts["distance"]))
    colour = colour + fog * (look["fog"] - colour)
    clear = sky(ray, sun, look)
    if is_cloudy(maps, look):
        gain = fields["clouds"] if "clouds" in fields else clouds(ray, look)
        clear = clear * (gain + fields["cloud"]).exp()
    seen = torch.where(facts["sky"] > 0.5, clear, colour)
    if panes is not None:
        near = 1 - fog * (facts["sky"] < 0.5)
        seen = seen * (1 - near * panes[0]) + near * panes[1]
    return drawn(tone(seen, look), maps, look)
