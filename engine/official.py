"""The official models: what each is made of, where its files lie, under which licence, and how it is sampled. A table
that the panel and the engine read. Standard library only.

Steps, shifts and guidance are those of the official configurations (Wan 2.1 and 2.2, VACE, VideoX-Fun). Files are
Comfy-Org's repackings of the official ones: the same numbers, as safetensors, which nobody has to convert. A checksum
stands where several independent lists publish the same; for the others the server's word is taken, and what the first
fetch found is remembered. Sizes are the server's where they are exact, else counted from the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOST = "https://huggingface.co"
WAN21, WAN22 = "Comfy-Org/Wan_2.1_ComfyUI_repackaged", "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
KIJAI = "Kijai/WanVideo_comfy"
APACHE = "Apache-2.0"

TRANSFORMER, LOW, TEXT, AUTOENCODER, IMAGE, TOKENIZER = (
    "transformer", "transformer_low", "text", "autoencoder", "image", "tokenizer",
)  # fmt: skip
PARTS = (TRANSFORMER, LOW, TEXT, AUTOENCODER, IMAGE, TOKENIZER)
"""What a model is made of: the transformer (of two experts the one for much noise), the one for little noise, the text
encoder, the autoencoder, the image encoder of models that look at their first frame, a tokenizer that lies apart."""

SMALL_PICTURE, LARGE_PICTURE = 832 * 480, 1280 * 720  # pixels that a model was trained at


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint is sampled."""

    steps: int
    shift: float  # for 480p
    guidance: float
    shift_large: float = 0.0  # for 720p, where that is another
    guidance_low: float = 0.0  # of the expert for little noise
    boundary: float = 0.0  # sigma from which on the expert for much noise predicts; 0: there is one network
    fps: int = 16  # of its training clips
    sampler: str = "unipc"
    frames: int = 81  # of its training clips: a longer shot is sampled in windows
    pixels: int = LARGE_PICTURE  # of a frame at most: a larger one is sampled smaller and enlarged


T2V_SMALL = Recipe(50, 8.0, 6.0, pixels=SMALL_PICTURE)
T2V_LARGE = Recipe(50, 5.0, 5.0)
VACE_SMALL = Recipe(50, 16.0, 5.0, pixels=SMALL_PICTURE)
VACE_LARGE = Recipe(50, 16.0, 5.0)
I2V = Recipe(40, 3.0, 5.0, shift_large=5.0)
FUN_SMALL = Recipe(50, 3.0, 6.0, sampler="euler", pixels=SMALL_PICTURE)  # stated for the camera model of 1.3B
FUN_LARGE = Recipe(50, 3.0, 6.0, sampler="euler")  # taken over from it
EXPERTS_T2V = Recipe(40, 12.0, 4.0, guidance_low=3.0, boundary=0.875)
EXPERTS_I2V = Recipe(40, 5.0, 3.5, guidance_low=3.5, boundary=0.9)
FEW_STEPS = Recipe(4, 5.0, 1.0, sampler="euler")
"""Of models and LoRAs that were taught to need few steps and no guidance (lightx2v's)."""

RECIPES: dict[str, Recipe] = {  # by the names of models/wan/catalogue.py; where one file is two models, by each
    "Wan2.1-T2V-1.3B": T2V_SMALL,
    "Wan2.1-T2V-14B": T2V_LARGE,
    "Wan2.2-T2V-A14B": EXPERTS_T2V,
    "Wan2.1-I2V-14B": I2V,
    "Wan2.1-FLF2V-14B": Recipe(50, 16.0, 5.0),
    "Wan2.2-TI2V-5B": Recipe(50, 5.0, 5.0, fps=24, frames=121),
    "Wan2.2-I2V-A14B": EXPERTS_I2V,
    "Wan2.1-VACE-1.3B": VACE_SMALL,
    "Wan2.1-VACE-14B": VACE_LARGE,
    "Wan2.2-VACE-Fun-A14B": EXPERTS_T2V,
    "Wan2.1-Fun-1.3B-InP": FUN_SMALL,
    "Wan2.1-Fun-1.3B-Control": FUN_SMALL,
    "Wan2.1-Fun-V1.1-1.3B-Control": FUN_SMALL,
    "Wan2.1-Fun-V1.1-1.3B-Control-Camera": FUN_SMALL,
    "Wan2.1-Fun-V1.1-14B-Control": FUN_LARGE,
    "Wan2.1-Fun-V1.1-14B-Control-Camera": FUN_LARGE,
    "Wan2.2-Fun-A14B-Control-Camera": EXPERTS_I2V,
    "Wan2.2-Fun-A14B-Control": EXPERTS_I2V,
}


@dataclass(frozen=True)
class File:
    """One file that can be fetched."""

    repository: str
    path: str
    size: int  # bytes
    sha256: str = ""

    @property
    def url(self) -> str:
        return f"{HOST}/{self.repository}/resolve/main/{self.path}"

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def wan21(kind: str, name: str, size: int, sha256: str = "") -> File:
    return File(WAN21, f"split_files/{kind}/{name}.safetensors", size, sha256)


def wan22(kind: str, name: str, size: int, sha256: str = "") -> File:
    return File(WAN22, f"split_files/{kind}/{name}.safetensors", size, sha256)


UMT5 = wan21("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled", 6_735_906_897,
             "c3355d30191f1f066b26d93fba017ae9809dce6c627dda5f6a66eaa651204f68")  # fmt: skip
VAE21 = wan21("vae", "wan_2.1_vae", 253_815_318, "2fc39d31359a4b0a64f55876d8ff7fa8d780956ae2cb13463b0223e15148976b")
VAE22 = wan22("vae", "wan2.2_vae", 1_409_400_000, "e40321bd36b9709991dae2530eb4ac303dd168276980d3e9bc4b6e2b75fed156")
CLIP = wan21("clip_vision", "clip_vision_h", 1_264_219_396,
             "64a7ef761bfccbadbaa3da77366aac4185a6c58fa5de5f589b42a65bcc21f161")  # fmt: skip
SHARED = {TEXT: UMT5, AUTOENCODER: VAE21}


@dataclass(frozen=True)
class Model:
    """One model as the menu offers it."""

    title: str
    variant: str  # of RECIPES
    files: Mapping[str, File]  # by PARTS
    told: str  # what it can be told beside a prompt, in the artist's words
    licence: str = APACHE

    @property
    def size(self) -> int:
        """Bytes of all its files; some of them it shares with others."""
        return sum(file.size for file in self.files.values())


def single(title: str, variant: str, file: File, told: str, **more: File) -> Model:
    return Model(title, variant, SHARED | {TRANSFORMER: file} | more, told)


def experts(title: str, variant: str, name: str, size: int, told: str, sums: tuple[str, str] = ("", "")) -> Model:
    """Two networks, for much and for little noise, in 8 bits."""
    high, low = (
        wan22("diffusion_models", f"wan2.2_{name}_{noise}_noise_14B_fp8_scaled", size, found)
        for noise, found in zip(("high", "low"), sums, strict=True)
    )
    return Model(title, variant, SHARED | {TRANSFORMER: high, LOW: low}, told)


GEOMETRY = "depth, known pixels, first and last frame, reference pictures"
RAYS = "camera, first frame"

MODELS: Mapping[str, Model] = {
    "wan2.1-vace-1.3b": single(
        "Wan 2.1 VACE 1.3B", "Wan2.1-VACE-1.3B",
        wan21("diffusion_models", "wan2.1_vace_1.3B_fp16", 4_309_000_000,
              "640ccc0577e6a5d4bb15cd91b11b699ef914fc55f126c5a1c544e152130784f2"), GEOMETRY,
    ),
    "wan2.1-vace-14b": single(
        "Wan 2.1 VACE 14B", "Wan2.1-VACE-14B",
        wan21("diffusion_models", "wan2.1_vace_14B_fp16", 34_675_323_640,
              "f202a5c59b8a91ada1862c46a038214f1f7f216c61ec8350d25f69b919da4307"), GEOMETRY,
    ),
    "wan2.2-vace-fun-a14b": experts(
        "Wan 2.2 VACE-Fun A14B", "Wan2.2-VACE-Fun-A14B", "fun_vace", 17_345_000_000, GEOMETRY,
    ),
    "wan2.1-fun-camera-1.3b": single(
        "Wan 2.1 Fun Camera 1.3B", "Wan2.1-Fun-V1.1-1.3B-Control-Camera",
        wan21("diffusion_models", "wan2.1_fun_camera_v1.1_1.3B_bf16", 3_233_000_000), RAYS, image=CLIP,
    ),
    "wan2.1-fun-camera-14b": single(
        "Wan 2.1 Fun Camera 14B", "Wan2.1-Fun-V1.1-14B-Control-Camera",
        wan21("diffusion_models", "wan2.1_fun_camera_v1.1_14B_bf16", 33_800_000_000), RAYS, image=CLIP,
    ),
    "wan2.2-fun-camera-a14b": experts(
        "Wan 2.2 Fun Camera A14B", "Wan2.2-Fun-A14B-Control-Camera", "fun_camera", 15_300_000_000, RAYS,
    ),
    "wan2.2-fun-control-a14b": experts(
        "Wan 2.2 Fun Control A14B", "Wan2.2-Fun-A14B-Control", "fun_control", 14_300_000_000,
        "depth, first frame, a reference picture",
        ("aa2f6b6f4cfc8a75a273a075db31730530f93320a996b153b8825205c3a3c498",
         "0f83c7b1cd6d509ff3504a8f604ca9d9876a8b1ed04f6e05095c4a7ccb9009cd"),
    ),
    "wan2.2-ti2v-5b": Model(
        "Wan 2.2 TI2V 5B", "Wan2.2-TI2V-5B",
        {TEXT: UMT5, AUTOENCODER: VAE22, TRANSFORMER: wan22(
            "diffusion_models", "wan2.2_ti2v_5B_fp16", 9_999_658_848,
            "456f901338bd9eadbded3828b819109a9b68e8a525ca5cf8d0049a69fcfeca1e")},
        "first frame; no depth and no camera",
    ),
    "wan2.2-i2v-a14b": experts(
        "Wan 2.2 I2V A14B", "Wan2.2-I2V-A14B", "i2v", 14_294_742_832, "first frame; no depth and no camera",
        ("6122e79d55e0f235698d11d657f3b196c5273c830da00b2b013c5a048d5e6a42",
         "5471a457b6ac404202a5fbe6c11595a3d5641fc766b00f38763f72303fffc21e"),
    ),
    "wan2.2-t2v-a14b": experts(
        "Wan 2.2 T2V A14B", "Wan2.2-T2V-A14B", "t2v", 14_294_742_832, "nothing but the prompt",
    ),
    "wan2.1-t2v-1.3b": single(
        "Wan 2.1 T2V 1.3B", "Wan2.1-T2V-1.3B", wan21("diffusion_models", "wan2.1_t2v_1.3B_fp16", 2_838_000_000),
        "nothing but the prompt",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Lora:
    """A LoRA as the menu offers it."""

    title: str
    file: File
    fits: tuple[str, ...]  # names of MODELS
    expert: str = ""  # "high" or "low": of two experts the one that it is for
    recipe: Recipe | None = None  # where it was taught to need another


LORAS: Mapping[str, Lora] = {
    "lightx2v-14b": Lora(
        "4 steps, for the 14B of Wan 2.1 (lightx2v)",
        File(KIJAI, "Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank32.safetensors", 317_000_000),
        ("wan2.1-vace-14b",), recipe=FEW_STEPS,
    ),
    "lightx2v-a14b-high": Lora(
        "4 steps, for much noise, of Wan 2.2 A14B (lightx2v)",
        wan22("loras", "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise", 1_227_000_000),
        ("wan2.2-vace-fun-a14b", "wan2.2-t2v-a14b"), "high", FEW_STEPS,
    ),
    "lightx2v-a14b-low": Lora(
        "4 steps, for little noise, of Wan 2.2 A14B (lightx2v)",
        wan22("loras", "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise", 1_227_000_000),
        ("wan2.2-vace-fun-a14b", "wan2.2-t2v-a14b"), "low", FEW_STEPS,
    ),
}  # fmt: skip
