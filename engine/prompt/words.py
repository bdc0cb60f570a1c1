"""The words that lite was taught, by what they decide, and which words of a prompt it does not know.

One home for training's captions and for the report's "not understood". Standard library only; knows no pixels.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

TIMES = {
    "noon": ["at noon", "on a bright sunny day", "in clear daylight", "midday sun", "sunny", "in bright sunshine", "daytime", "under a blue sky", "morning light", "summer", "sunlight", "a fine day", "high noon", "blazing sun"],
    "sunset": ["at sunset", "at golden hour", "with a warm low sun", "in the golden evening light", "sundown", "late afternoon sun", "sunset glow", "warm evening", "autumn evening", "long shadows", "setting sun", "backlit by a low sun"],
    "night": ["at night", "under the stars", "in the dark of night", "midnight", "moonlit", "by moonlight", "night time", "nocturnal", "after dark", "starry night", "full moon", "starlight", "darkness"],
    "dawn": ["at dawn", "in the pink early morning", "at sunrise", "daybreak", "first light", "early morning", "rising sun", "pink sky"],
    "dusk": ["at dusk", "in the blue hour", "twilight", "at nightfall", "after sunset", "gloaming", "evening blue"],
    "overcast": ["under an overcast sky", "on a grey cloudy day", "cloudy", "gloomy", "dull grey light", "flat soft light", "overcast", "diffuse light", "clouds", "november", "dreary"],
}  # fmt: skip
WEATHERS = {
    "clear": ["", "clear weather", "clear sky"],
    "fog": ["in thick fog", "with morning mist", "foggy", "misty", "hazy", "shrouded in mist", "fog", "haze", "smoke", "dusty air", "atmospheric haze"],
    "storm": ["in a storm", "with dark storm clouds", "thunderstorm", "stormy", "tempest", "dramatic storm", "thunder", "hurricane", "threatening sky", "ominous clouds"],
    "rain": ["in the rain", "rainy", "heavy rain", "wet streets", "after the rain", "drizzle", "soaked by rain", "wet", "puddles", "downpour", "monsoon", "reflections on wet ground"],
    "snow": ["covered in snow", "after a snowfall", "in winter snow", "snowy", "winter", "deep snow", "frosty winter", "blizzard", "snow", "christmas", "arctic", "frozen", "frost"],
}  # fmt: skip
PLACES = {
    "street": ["a city street", "tall buildings downtown", "an urban avenue", "a town street", "city", "an alley of houses", "road", "skyscrapers", "a building"],
    "village": ["a village", "small houses", "a hamlet square", "cottages", "a rural village", "houses", "a farm", "a house", "town square"],
    "desert": ["a desert with dunes", "sand dunes and ruins", "desert", "an arid plain", "canyon"],
    "forest": ["a forest", "pine trees in the woods", "woodland", "trees", "a park with trees", "jungle", "garden"],
    "mountains": ["mountains", "a rocky mountain valley", "an alpine valley", "hills", "landscape", "terrain", "valley", "cliffs"],
    "harbour": ["a harbour", "a lake shore", "water and quays", "by the sea", "a canal", "river", "ocean", "beach", "boats"],
    "room": ["a room", "a living room", "an interior", "indoors", "a kitchen", "a hall", "an apartment", "bedroom", "corridor", "office", "studio"],
    "blocks": ["abstract blocks", "simple shapes", "a still life", "cubes and spheres", "a stage set", "objects on a table", "a product shot"],
}  # fmt: skip
LIGHTS = {
    "none": [""],
    "windows": ["with lit windows", "with glowing windows", "lights in the windows", "illuminated windows", "windows glowing"],
    "lanterns": ["with festival lights", "with coloured lanterns", "with street lamps", "lamps glowing", "festival", "lantern light", "candlelight", "lamp light", "carnival", "fairy lights"],
}  # fmt: skip
STYLES = {
    "none": [""],
    "black and white": ["black and white", "monochrome", "greyscale", "black-and-white photograph", "grayscale"],
    "sepia": ["sepia", "old sepia photograph", "antique photograph", "vintage brown", "vintage", "old photograph"],
    "noir": ["film noir", "noir", "high contrast black and white", "detective film"],
    "vivid": ["vivid colours", "saturated", "colourful", "vibrant", "technicolor", "vivid", "rich colors"],
    "pastel": ["pastel", "soft pastel colours", "faded", "washed out", "muted colours", "dreamy", "muted"],
    "warm": ["warm tones", "warm colours", "cosy", "warm"],
    "cold": ["cold tones", "cold blue tones", "icy tones", "bleak", "cold", "blue tones"],
    "dark": ["dark and moody", "low key", "dim", "moody", "dark", "horror", "sinister"],
    "bright": ["high key", "bright and airy", "airy", "bright"],
    "watercolour": ["watercolour", "watercolor painting", "aquarelle", "painted in watercolour", "a watercolour on paper", "wash and ink"],
    "pencil": ["pencil drawing", "a pencil sketch", "sketch", "charcoal drawing", "drawn in pencil", "graphite", "hatching", "etching", "engraving"],
    "cartoon": ["cartoon", "comic book", "cel shaded", "posterised", "flat colours", "anime", "cel shading", "pop art", "comic", "toon", "screen print"],
    "blueprint": ["blueprint", "technical drawing", "white lines on blue", "architect's plan"],
    "neon": ["neon", "cyberpunk", "neon outlines", "tron", "synthwave", "glowing edges", "neon lights", "retrowave"],
}  # fmt: skip
MATERIALS = {
    "brick": ["brick", "bricks", "brickwork", "red brick"],
    "plaster": ["plaster", "plastered", "whitewashed", "stucco", "white plaster", "rendered walls"],
    "concrete": ["concrete", "cement", "brutalist", "raw concrete"],
    "stone": ["stone", "rough stone", "masonry", "rock", "granite", "ruins", "medieval stone", "ancient stone"],
    "cobbles": ["cobblestones", "cobbled", "paved", "flagstones"],
    "wood": ["wood", "wooden", "timber", "oak", "planks", "log cabin", "boards", "walnut"],
    "grass": ["grass", "lawn", "meadow", "grassy", "turf"],
    "moss": ["moss", "mossy", "overgrown", "ivy", "covered in moss", "vines", "overgrown with plants"],
    "sand": ["sand", "sandy", "sandstone", "adobe", "clay", "mud", "earth"],
    "tiles": ["tiles", "tiled", "ceramic", "mosaic", "porcelain tiles"],
    "marble": ["marble", "white marble", "alabaster"],
    "metal": ["metal", "steel", "metallic", "aluminium", "chrome", "iron", "stainless steel", "silver metal"],
    "gold": ["gold", "golden metal", "gilded", "made of gold", "brass"],
    "rust": ["rust", "rusty", "corroded", "rusted iron", "decayed metal"],
    "glass": ["glass", "made of glass", "crystal", "glassy", "steel and glass"],
    "ice": ["ice", "icy", "made of ice", "frozen ice", "glacier"],
    "paint": ["painted", "painted walls", "lacquered", "coloured plastic", "plastic"],
    "blocks": ["minecraft", "voxels", "voxel art", "blocky pixels", "pixel art blocks", "made of blocks", "lego", "toy bricks"],
    "candy": ["candy", "gingerbread", "sugar", "icing"],
    "lava": ["lava", "molten rock", "volcanic", "magma"],
}  # fmt: skip
COLOURS = {
    "red": (0.7, 0.06, 0.05), "blue": (0.07, 0.14, 0.6), "yellow": (0.85, 0.65, 0.08), "green": (0.1, 0.45, 0.12),
    "white": (0.85, 0.85, 0.85), "orange": (0.8, 0.3, 0.05), "black": (0.02, 0.02, 0.025), "pink": (0.85, 0.35, 0.45),
    "purple": (0.3, 0.08, 0.45), "turquoise": (0.08, 0.5, 0.5), "brown": (0.25, 0.13, 0.06), "grey": (0.35, 0.35, 0.36),
}  # fmt: skip  # scene-linear
COLOUR_WORDS = {
    "red": ["red", "crimson", "scarlet"], "blue": ["blue", "navy", "azure"], "yellow": ["yellow", "ochre"],
    "green": ["green", "emerald"], "white": ["white", "ivory"], "orange": ["orange", "terracotta"],
    "black": ["black", "ebony"], "pink": ["pink", "rose"], "purple": ["purple", "violet"],
    "turquoise": ["turquoise", "teal"], "brown": ["brown", "chocolate"], "grey": ["grey", "gray"],
}  # fmt: skip
FILLERS = ["", "", "", "cinematic", "a photo of", "35mm film still of", "wide shot of", "beautiful", "highly detailed", "an establishing shot of", "realistic", "4k", "a film about", "aerial view of", "slow dolly through", "a scene with", "photorealistic", "masterpiece"]  # fmt: skip
MADE_OF = ["{}", "{}", "made of {}", "{} walls", "{} buildings", "{} houses", "everything is {}", "{} everywhere", "all in {}", "built of {}", "{} surfaces", "with {}"]  # fmt: skip
FIGURES = ["a person in a {} coat walking", "a figure in {}", "someone wearing a {} coat"]
VEHICLES = {
    "car": ["car", "taxi", "cab", "automobile", "hatchback", "saloon"], "van": ["van", "minibus", "delivery van", "ambulance"],
    "bus": ["bus", "coach", "tram"], "truck": ["truck", "lorry", "fire engine", "pickup"],
}  # fmt: skip
DRIVING = ["a {}", "a {} driving past", "a parked {}", "a {} on the road", "a {} waiting"]
STOP = frozenset("a an the of in on at with and to is are by for from into its it this that".split())

OF_THE_SCENE = frozenset(  # what camera and geometry decide: nobody misses it where it changes nothing
    "camera shot view dolly pan zoom crane orbit film movie still video clip frame lens mm hd 8k quality style very some "
    "through over under across past towards along near far big small large tall old new there which as two three many "
    "look looking like seen scene beside behind between above below inside outside around front before after while where who "
    "has have his her their them its some all every each next other more most less up down left right "
    "season spring summer autumn autumnal blossom".split()
)
NEARLY = 5  # letters of a word that are enough to mean it: brickish, minecrafty
ENDINGS = ("ies", "es", "s", "ing", "ed", "y", "ly", "en", "ish")


def words(prompt: str) -> list[str]:
    """Lower-case words without accents and without little words."""
    plain = unicodedata.normalize("NFKD", prompt.lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return [w for w in re.findall(r"[\w&']+", plain) if w not in STOP]


LIGHT = frozenset(  # words that say what light there is, so that the scene's own does not decide
    "noon midday daylight daytime sunny sunshine sunlight sunset sundown dusk dawn sunrise daybreak twilight evening morning "
    "afternoon night midnight nocturnal moonlit moonlight moon starry overcast cloudy gloomy foggy fog "
    "mist misty hazy storm stormy thunderstorm tempest rain rainy downpour drizzle snow snowy winter blizzard snowfall dark "
    "noir bright neon cyberpunk backlit lit lanterns candlelight festival glowing".split()
)
LIGHT_PHRASES = ("blue hour", "golden hour", "blue sky", "lit windows")


def tells_light(prompt: str) -> bool:
    """Whether the prompt says what the light is like."""
    return any(w in LIGHT for w in words(prompt)) or any(phrase in prompt.lower() for phrase in LIGHT_PHRASES)


@lru_cache(1)
def forms() -> frozenset[str]:
    """Every word that a training caption may hold, as it stands there."""
    tables = (TIMES, WEATHERS, PLACES, LIGHTS, STYLES, MATERIALS, COLOUR_WORDS, VEHICLES)
    phrases = [phrase for table in tables for phrases in table.values() for phrase in phrases]
    return frozenset(w for phrase in [*FILLERS, *MADE_OF, *FIGURES, *DRIVING, *phrases] for w in words(phrase))


@lru_cache(1)
def taught() -> dict[str, str]:
    """One form of each, by its stem."""
    return {stem(w): w for w in sorted(forms(), key=lambda w: (-len(w), w))}  # the shortest form stays


def as_taught(prompt: str) -> str:
    """The prompt with other forms of taught words in the form that was taught: blizzards, blizzard."""
    return " ".join(taught().get(stem(w), w) if w not in forms() else w for w in words(prompt))


def stem(word: str) -> str:
    """The word without a common English ending: snowy, snows and snowed are one."""
    word = word.replace("colour", "color")
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def named(prompt: str, table: dict[str, list[str]]) -> set[str]:
    """Rows of a table that some word of the prompt may mean: it shares a word's stem, or nearly all of it."""
    own = {stem(w) for w in words(prompt)}
    return {row for row, phrases in table.items() if any(_near(stem(w), own) for p in phrases for w in words(p))}


def _near(taught: str, own: set[str]) -> bool:
    long = len(taught) >= NEARLY
    return taught in own or any(long and len(w) >= NEARLY and (w.startswith(taught) or taught.startswith(w)) for w in own)


def not_understood(prompt: str, names: Iterable[str] = ()) -> list[str]:
    """Words of the prompt that change nothing, in its order. `names`: what the scene itself calls its things."""
    own = {stem(w) for name in names for w in re.findall(r"[^\W\d_]+", name.lower())}
    understood = taught().keys() | own | {stem(w) for w in OF_THE_SCENE}
    strange = [w for w in words(prompt) if not w.isdigit() and stem(w) not in understood]
    return list(dict.fromkeys(strange))
