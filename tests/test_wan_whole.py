"""From a prompt to pictures with files on a disk, beside the same chain of transformers and diffusers."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanVACETransformer3DModel
from safetensors.torch import save_file
from transformers import UMT5Config, UMT5EncoderModel

from engine.diffusion import sampler, schedule, unipc
from engine.models.wan import config, controls, recipes, shapes, vocabulary
from engine.models.wan.transformer import Controls
from engine.weights import checkpoint, inspection

HERE = Path(__file__).resolve().parent
STEPS, GUIDANCE, STRENGTH = 4, 5.0, 0.8
PROMPT, AVOIDED = "A red barn  in the “morning” fog &amp; снег", "雨 dark"


@pytest.fixture(scope="module")
def oracles(load_support):
    return load_support("wan_oracles")


@pytest.fixture(scope="module")
def theirs(oracles):
    """transformer, autoencoder, text encoder: diffusers' and transformers', with random numbers."""
    text = UMT5Config(vocab_size=900, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                      feed_forward_proj="gated-gelu", is_encoder_decoder=False)  # fmt: skip
    made = (
        WanVACETransformer3DModel(num_layers=2, num_attention_heads=2, ffn_dim=96, text_dim=32, vace_layers=[0, 1]),
        AutoencoderKLWan(base_dim=4),
        UMT5EncoderModel(text),
    )
    return [oracles.randomise(model, seed) for seed, model in enumerate(made)]


@pytest.fixture(scope="module")
def folder(theirs, oracles, tmp_path_factory):
    """The three files as Comfy would have them, the text encoder's with its tokenizer."""
    where = tmp_path_factory.mktemp("weights")
    spiece = lzma.decompress((HERE / "support" / "sentencepiece.model.xz").read_bytes())
    states = [oracles.official(model) for model in theirs[:2]] + [dict(theirs[2].state_dict())]
    states[0] = {f"model.diffusion_model.{name}": value for name, value in states[0].items()}
    states[2] |= {"spiece_model": torch.tensor(list(spiece), dtype=torch.uint8)}
    for name, state in zip(("transformer", "vae", "text"), states, strict=True):
        save_file({key: value.clone() for key, value in state.items()}, where / f"{name}.safetensors")
    return where


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """A control video and what is free of it."""
    depth = torch.linspace(1, 6, 32)[None, :, None].expand(5, 32, 48)
    guide = controls.depth_video(depth, controls.nearness_range(depth))
    known = torch.zeros(5, 32, 48, dtype=torch.bool)
    known[:, 8:20, 10:30] = True
    return controls.composite(guide, torch.full_like(guide, 0.3), known)


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def ours(folder: Path) -> torch.Tensor:
    wan, vae, text = (
        checkpoint.load(checkpoint.open_set(folder / f"{file}.safetensors", role))
        for file, role in (
            ("transformer", config.TRANSFORMER), ("vae", config.AUTOENCODER), ("text", config.TEXT),
        )
    )  # fmt: skip
    tokens = checkpoint.tokenizer(folder / "text.safetensors")
    prompts = torch.cat([wan.read_text(text.prompt(tokens.prompt(words))) for words in (PROMPT, AVOIDED)])
    told = Controls(vace=controls.vace(*scene(), vae.encode), strength=STRENGTH)
    x = noise(shapes.latent(5, 32, 48, vae.config).batch())
    sigmas, past = recipes.sigmas(STEPS, 16.0), None
    for i in range(STEPS):
        t = torch.tensor([recipes.timestep(sigmas[i])])
        velocity = wan(x.expand(2, -1, -1, -1, -1), t, prompts, told)
        guided = sampler.guide(velocity[:1], velocity[1:], GUIDANCE)
        x, past = unipc.step(x, schedule.clean(x, guided, sigmas[i]), sigmas, i, past)
    return vae.decode(x)


@torch.no_grad()
def by_the_oracles(theirs, folder: Path, encode) -> torch.Tensor:
    transformer, vae, text = theirs
    spiece = vocabulary.fields(lzma.decompress((HERE / "support" / "sentencepiece.model.xz").read_bytes()))
    pieces = [dict(vocabulary.fields(value)) for number, value in spiece if number == 1]
    ids = {piece[1].decode(): i for i, piece in enumerate(pieces)}
    states = []
    for words in ('A red barn in the "morning" fog & снег', "雨 dark"):
        found = [*checkpoint.tokenizer(folder / "text.safetensors").ids(words), ids["</s>"]]
        mask = (torch.arange(512) < len(found))[None].long()
        padded = torch.tensor([found + [0] * (512 - len(found))])
        states.append(text(padded, attention_mask=mask).last_hidden_state * mask[..., None])
    context = controls.vace(*scene(), encode)
    oracle = UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=16.0, prediction_type="flow_prediction")
    oracle.set_timesteps(STEPS)
    oracle.sigmas = torch.tensor(recipes.sigmas(STEPS, 16.0), dtype=torch.float64)
    x = noise((1, 16, 2, 4, 6))
    for t, sigma in zip(oracle.timesteps, recipes.sigmas(STEPS, 16.0), strict=False):
        at = torch.tensor([recipes.timestep(sigma)])
        parts = [transformer(x, at, s, None, context, torch.full((2,), STRENGTH), return_dict=False)[0] for s in states]
        x = oracle.step(parts[1] + GUIDANCE * (parts[0] - parts[1]), t, x, return_dict=False)[0].float()
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    deviation = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    return vae.decode(x * deviation + mean, return_dict=False)[0]


def test_a_prompt_and_a_control_become_the_same_pictures(theirs, folder, oracles, record_property):
    with torch.no_grad():
        vae = checkpoint.load(checkpoint.open_set(folder / "vae.safetensors"))
    found = ours(folder)
    expected = by_the_oracles(theirs, folder, vae.encode)
    error = oracles.apart(found, expected)
    record_property("relative L2", error)
    assert found.shape == (1, 3, 5, 32, 48) and error < 1e-4
    assert (expected.abs() < 1).float().mean() > 0.3  # what is compared is not what was cut off
    assert torch.equal(found, ours(folder))


def test_the_files_say_what_they_are(folder):
    found = [inspection.report(folder / f"{name}.safetensors") for name in ("transformer", "vae", "text")]
    assert [f["role"] for f in found] == ["transformer", "autoencoder", "text encoder"]
    assert [f["tokenizer"] for f in found] == [False, False, True]
    assert [f["naming"] for f in found] == ["official", "official", "transformers"]
    assert [f["prefix"] for f in found] == ["model.diffusion_model.", "", ""]
