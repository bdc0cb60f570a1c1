"""CLIP's image encoder computes what transformers' computes, whatever its tensors are called, from pictures as the
official code shows them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from engine.models.wan import catalogue, config, image, names
from engine.models.wan.image import DEVIATION, MEAN, ImageEncoder
from engine.weights import checkpoint, convert, inspection
from engine.weights.header import BadWeights

EXACT = 5e-6  # relative L2 in float32
SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 16,
         "image_size": 42, "patch_size": 14, "hidden_act": "gelu", "projection_dim": 24}  # fmt: skip
OFFICIAL = "CLIP ViT-H/14 image encoder"


@pytest.fixture(scope="module")
def oracles(load_support):
    return load_support("wan_oracles")


@pytest.fixture(scope="module")
def oracle(oracles):
    return oracles.randomise(CLIPVisionModelWithProjection(CLIPVisionConfig(**SMALL)))


@pytest.fixture(scope="module")
def theirs(oracle):
    return {name: value.clone() for name, value in oracle.state_dict().items()}


@pytest.fixture(scope="module")
def files(oracle, theirs, tmp_path_factory):
    """The same numbers as three makers write them; the official one beside words that nobody here reads."""
    folder = tmp_path_factory.mktemp("clip")
    named = names.find(theirs)
    own = {name: theirs[there] for name, there in named.names.items()}
    official = {f"visual.{name}": value for name, value in fused(own).items()}
    official["visual.cls_embedding"] = official["visual.cls_embedding"][None, None]
    official["visual.pos_embedding"] = official["visual.pos_embedding"][None]
    official |= {"visual.post_norm.weight": torch.ones(64), "visual.head": torch.zeros(64, 24)}
    official |= {"textual.norm.weight": torch.ones(64), "log_scale": torch.tensor(2.0)}
    torch.save(official, folder / "official.pth")
    convert.convert(folder / "official.pth", folder / "official.safetensors")
    save_file(theirs, folder / "transformers.safetensors")
    other = {f"visual.{renamed(name)}": value.contiguous() for name, value in fused(own).items()}
    other |= {"visual.proj": torch.zeros(64, 24), "visual.ln_post.weight": torch.ones(64)}
    save_file(other, folder / "open_clip.safetensors")
    return folder


def fused(split: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Queries, keys and values of each block as one matrix."""
    out = {name: value for name, value in split.items() if not name.split(".attn.")[-1].startswith(("q.", "k.", "v."))}
    for i in range(SMALL["num_hidden_layers"]):
        for leaf in ("weight", "bias"):
            parts = [split[f"transformer.{i}.attn.{part}.{leaf}"] for part in "qkv"]
            out[f"transformer.{i}.attn.to_qkv.{leaf}"] = torch.cat(parts)
    return out


def renamed(name: str) -> str:
    """An official name as open_clip has it."""
    for ours, theirs in (
        ("cls_embedding", "class_embedding"), ("pos_embedding", "positional_embedding"), ("patch_embedding", "conv1"),
        ("pre_norm", "ln_pre"), ("transformer.", "transformer.resblocks."), (".norm", ".ln_"),
        (".attn.to_qkv.", ".attn.in_proj_"), (".attn.proj", ".attn.out_proj"), (".mlp.0", ".mlp.c_fc"),
        (".mlp.2", ".mlp.c_proj"),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return name


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 42, 42, generator=torch.Generator().manual_seed(3)) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("maker", ["official", "transformers", "open_clip"])
def test_tokens(oracle, oracles, files, maker, record_property):
    """Before the last block; the picture has CLIP's own size, so that nothing is made smaller."""
    opened = checkpoint.open_set(files / f"{maker}.safetensors", config.IMAGE)
    assert (opened.named.naming, opened.config.side, opened.config.tokens) == (maker, 42, 10)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    seen = (pictures() / 2 + 0.5 - mean) / deviation
    expected = oracle(seen, output_hidden_states=True).hidden_states[-2]
    error = oracles.apart(checkpoint.load(opened)(pictures()), expected)
    record_property("relative L2", error)
    assert error <= EXACT


@torch.no_grad()
def test_halves_stay_halves_and_are_computed_in_full(files, oracles, theirs, tmp_path):
    save_file({name: value.half() for name, value in theirs.items()}, tmp_path / "half.safetensors")
    opened = checkpoint.open_set(tmp_path / "half.safetensors")
    found = checkpoint.load(opened, manner=checkpoint.Manner(stored=True))
    assert found.transformer[0].attn.q.weight.dtype == torch.float16 and found.pre_norm.weight.dtype == torch.float32
    exact = checkpoint.load(checkpoint.open_set(files / "transformers.safetensors"))
    tokens = found(pictures())
    assert tokens.dtype == torch.float32 and 0 < oracles.apart(tokens, exact(pictures())) < 2e-3


def test_a_picture_is_squeezed_to_a_square_and_shifted():
    """A slope stays one: by hand, pixel centres of 8 and 4 columns onto 4 each, away from the border."""
    slope = torch.linspace(-0.7, 0.7, 8).expand(1, 3, 4, 8)
    found = image.prepared(slope, 4)
    assert found.shape == (1, 3, 4, 4)
    for channel in range(3):
        value = found[0, channel, 2, 1] * DEVIATION[channel] + MEAN[channel]
        assert float(value) == pytest.approx((float(slope[0, 0, 0, 2:4].mean()) + 1) / 2, abs=1e-6)


def meta(config_: config.ImageConfig) -> config.Shapes:
    with torch.device("meta"):
        model = ImageEncoder(config_)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def words() -> dict[str, tuple[int, ...]]:
    """The text half of the official file, XLM-RoBERTa large with a head, which this engine leaves alone."""
    D, out = 1024, {}
    for name, rows in (("token", 250002), ("type", 1), ("pos", 514)):
        out[f"{name}_embedding.weight"] = (rows, D)
    layers = {f"attn.{part}": (D, D) for part in "qkvo"} | {"ffn.0": (4 * D, D), "ffn.2": (D, 4 * D)}
    for i in range(24):
        for layer, shape in layers.items():
            out[f"blocks.{i}.{layer}.weight"], out[f"blocks.{i}.{layer}.bias"] = shape, shape[:1]
    for norm in ("norm", *(f"blocks.{i}.norm{n}" for i in range(24) for n in (1, 2))):
        out[f"{norm}.weight"] = out[f"{norm}.bias"] = (D,)
    return out | {"head.0.weight": (D, D), "head.2.weight": (D, D)}


def test_official_names_and_shapes():
    """The whole official file has the fingerprint that DiffSynth-Studio lists; of that ours is the visual part."""
    known = catalogue.CHECKPOINTS[OFFICIAL]
    shapes = meta(known.config)
    whole = {f"visual.{name}": shape for name, shape in shapes.items()} | {"log_scale": (), "visual.head": (1280, 1024)}
    whole |= {"visual.post_norm.weight": (1280,), "visual.post_norm.bias": (1280,)}
    whole |= {f"textual.{name}": shape for name, shape in words().items()}
    assert catalogue.fingerprint(whole) == "5941c53e207d62f20f9025686193c40b"
    named = names.find(whole)
    assert (named.role, named.prefix, set(named.names)) == (config.IMAGE, "visual.", set(shapes))
    assert catalogue.known(shapes) == OFFICIAL and config.image(shapes) == known.config
    assert known.config.heads == 16 and known.config.side == 224


def test_comfys_file_is_known_too():
    """Transformers' network of full size, which Comfy's clip_vision_h holds."""
    full = CLIPVisionConfig(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16,
                            patch_size=14, hidden_act="gelu", projection_dim=1024)  # fmt: skip
    with torch.device("meta"):
        theirs = CLIPVisionModelWithProjection(full).state_dict()
    found = {name: tuple(theirs[there].shape) for name, there in names.find(theirs).names.items()}
    assert catalogue.known(found) == f"{OFFICIAL}, as transformers names it"
    assert config.image(found) == catalogue.CHECKPOINTS[catalogue.known(found)].config


def test_what_is_none_is_refused_in_words(files, theirs, tmp_path):
    assert inspection.report(files / "official.safetensors")["role"] == config.IMAGE
    lacking = {n: v for n, v in theirs.items() if n != "vision_model.encoder.layers.1.mlp.fc1.bias"}
    save_file(lacking, tmp_path / "lacking.safetensors")
    with pytest.raises(BadWeights, match=r"lacks transformer\.1\.mlp\.0\.bias"):
        checkpoint.open_set(tmp_path / "lacking.safetensors")
    odd = theirs | {"vision_model.embeddings.position_embedding.weight": torch.zeros(12, 64)}
    save_file(odd, tmp_path / "odd.safetensors")
    with pytest.raises(BadWeights, match="a damaged Wan image encoder: 3 blocks of width 64 for 11 cells"):
        checkpoint.open_set(tmp_path / "odd.safetensors", config.IMAGE)
