"""Wan's files load whatever their names, precision and number; what is broken or something else is refused by name."""

from __future__ import annotations

import json
import lzma
import os
import random
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel, WanVACETransformer3DModel
from safetensors.torch import load_file, save_file
from transformers import UMT5Config, UMT5EncoderModel

from engine.models.wan import catalogue, names
from engine.models.wan.transformer import Controls
from engine.weights import checkpoint, convert, header, inspection, store
from engine.weights.header import BadWeights

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"num_layers": 2, "num_attention_heads": 1, "ffn_dim": 64, "text_dim": 16}
MEMORY = 500 * 2**20  # what refusing a file may take


def engine(*arguments: object, memory: int | None = None) -> subprocess.CompletedProcess:
    def limit() -> None:
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    return subprocess.run(
        [sys.executable, "-m", "engine", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
        preexec_fn=limit, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def oracles(load_support):
    return load_support("wan_oracles")


@pytest.fixture(scope="module")
def states(oracles):
    """Small random networks: under the names of diffusers and transformers, and under the official ones."""
    made = {
        names.TRANSFORMER: WanVACETransformer3DModel(**SMALL, vace_layers=[0, 1]),
        names.AUTOENCODER: AutoencoderKLWan(base_dim=4),
        names.TEXT: UMT5EncoderModel(
            UMT5Config(vocab_size=40, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                       feed_forward_proj="gated-gelu", is_encoder_decoder=False)
        ),
    }  # fmt: skip
    out = {}
    for role, model in made.items():
        oracles.randomise(model)
        theirs = {name: value.clone() for name, value in model.state_dict().items()}
        out[role] = {"theirs": theirs, "official": {n: v.clone() for n, v in oracles.official(model).items()}}
    return out


def written(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    return path


def answers(model) -> torch.Tensor:
    """What a loaded network computes of something fixed."""
    g = torch.Generator().manual_seed(9)
    with torch.no_grad():
        if isinstance(model, checkpoint.Wan):
            x, text = torch.randn(1, 16, 2, 4, 4, generator=g), torch.randn(1, 512, 16, generator=g)
            vace = torch.randn(1, 96, 2, 4, 4, generator=g)
            return model(x, torch.tensor([300.0]), model.read_text(text), Controls(vace=vace))
        if isinstance(model, checkpoint.Autoencoder):
            return model.decode(torch.randn(1, 16, 2, 3, 3, generator=g))
        return model([3, 7, 39, 1])


# ---------------------------------------------------------------- loading


@pytest.mark.parametrize("role", [names.TRANSFORMER, names.AUTOENCODER, names.TEXT])
def test_all_names_give_the_same_network(tmp_path, oracles, states, role):
    official = states[role]["official"]
    files = {
        "official": official,
        "theirs": states[role]["theirs"],
        "comfy": {f"model.diffusion_model.{name}": value for name, value in official.items()},
    }
    found = []
    for kind, tensors in files.items():
        opened = checkpoint.open_set(written(tmp_path / f"{kind}.safetensors", tensors), role)
        model = checkpoint.load(opened)
        assert {n: v for n, v in model.state_dict().items() if not torch.equal(v, official[n])} == {}
        found.append((opened.named.naming, opened.named.prefix, answers(model)))
    assert [f[0] for f in found] == ["official", "transformers" if role == names.TEXT else "diffusers", "official"]
    assert [f[1] for f in found] == ["", "", "model.diffusion_model."]
    assert all(oracles.apart(f[2], found[0][2]) < 1e-6 for f in found)  # where a tensor begins decides its last bits


def test_a_file_with_several_networks_gives_the_one_asked_for(tmp_path, states):
    together = {f"model.diffusion_model.{n}": v for n, v in states[names.TRANSFORMER]["official"].items()}
    together |= {f"vae.{n}": v for n, v in states[names.AUTOENCODER]["official"].items()}
    opened = checkpoint.open_set(written(tmp_path / "all.safetensors", together), names.TRANSFORMER)
    assert set(opened.named.names) == set(states[names.TRANSFORMER]["official"])


@pytest.mark.parametrize("index", [True, False])
def test_shards_are_one_set(tmp_path, states, index):
    tensors = states[names.TRANSFORMER]["official"]
    parts = [dict(list(tensors.items())[i::3]) for i in range(3)]
    files = [f"diffusion_pytorch_model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)]
    for file, part in zip(files, parts, strict=True):
        written(tmp_path / file, part)
    table = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    listing = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    if index:
        listing.write_text(json.dumps({"metadata": {}, "weight_map": table}))
    for path in [tmp_path, tmp_path / files[1], *([listing] if index else [])]:
        opened = checkpoint.open_set(path, names.TRANSFORMER)
        assert [h.path.name for h in opened.headers] == files
    model = checkpoint.load(opened)
    assert all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())
    (tmp_path / files[2]).unlink()
    with pytest.raises(BadWeights, match=f"{files[2]}.* is missing"):
        checkpoint.open_set(tmp_path / files[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_load_and_compute(tmp_path, oracles, states, dtype):
    """Stored in halves and computed in float32: the halves exactly. Computed in halves: near that."""
    tensors = {n: v.to(dtype) for n, v in states[names.TRANSFORMER]["official"].items()}
    opened = checkpoint.open_set(written(tmp_path / "half.safetensors", tensors))
    exact = checkpoint.load(opened)
    assert all(torch.equal(v.float(), tensors[n].float()) for n, v in exact.state_dict().items())
    rough = checkpoint.load(opened, dtype)
    assert rough.blocks[0].ffn[0].weight.dtype == dtype and rough.blocks[0].norm3.weight.dtype == torch.float32
    assert rough.blocks[0].modulation.dtype == torch.float32
    assert 0 < oracles.apart(answers(rough), answers(exact)) < 2e-2


def eight_bits(tensors: dict[str, torch.Tensor], scale_name: str | None) -> dict[str, torch.Tensor]:
    """As Comfy writes it: the blocks' matrices divided by a scale and rounded to e4m3."""
    out = {}
    for name, value in tensors.items():
        if value.dim() == 2 and name.startswith(("blocks.", "vace_blocks.")) and name.endswith(".weight"):
            scale = value.abs().max() / 448 if scale_name else torch.tensor(1.0)
            out[name] = (value / scale).to(torch.float8_e4m3fn)
            if scale_name:
                out[name.removesuffix(".weight") + scale_name] = scale.float()
        else:
            out[name] = value.half()
    return out


@pytest.mark.parametrize("scale_name", [None, ".scale_weight", ".weight_scale"])
def test_eight_bits_stay_so_and_compute_with_their_scales(tmp_path, oracles, states, scale_name):
    tensors = eight_bits(states[names.TRANSFORMER]["official"], scale_name)
    marks = {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn), "blocks.0.ffn.0.scale_input": torch.ones(())}
    marks["blocks.0.ffn.0.comfy_quant"] = torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8)
    opened = checkpoint.open_set(written(tmp_path / "fp8.safetensors", tensors | marks), names.TRANSFORMER)
    model = checkpoint.load(opened)
    assert model.blocks[0].ffn[0].weight.dtype == torch.float8_e4m3fn
    plain = {}
    for name, value in tensors.items():
        scale = tensors.get(name.removesuffix(".weight") + (scale_name or "?"), torch.tensor(1.0))
        plain[name] = value.float() * scale if name.endswith(".weight") else value.float()
    plain = {n: v for n, v in plain.items() if not n.endswith(scale_name or "?")}
    exact = checkpoint.load(checkpoint.open_set(written(tmp_path / "wide.safetensors", plain)))
    assert oracles.apart(answers(model), answers(exact)) < 1e-5
    rough = checkpoint.load(opened, torch.bfloat16)
    assert oracles.apart(answers(rough), answers(exact)) < 2e-2


def test_eight_bits_elsewhere_are_widened(tmp_path, states):
    """A token table has no product to scale after."""
    tensors = dict(states[names.TEXT]["theirs"])
    table = tensors["shared.weight"]
    scale = table.abs().max() / 448
    tensors["shared.weight"] = (table / scale).to(torch.float8_e4m3fn)
    tensors["shared.scale_weight"] = scale
    tensors.pop("encoder.embed_tokens.weight")
    model = checkpoint.load(checkpoint.open_set(written(tmp_path / "t5.safetensors", tensors), names.TEXT))
    assert model.token_embedding.weight.dtype == torch.float32
    assert torch.allclose(model.token_embedding.weight, table, rtol=0.07, atol=float(scale))


def test_a_tokenizer_lies_in_the_text_encoders_file(tmp_path, states):
    spiece = lzma.decompress((ROOT / "tests" / "support" / "sentencepiece.model.xz").read_bytes())
    tensors = states[names.TEXT]["theirs"] | {"spiece_model": torch.tensor(list(spiece), dtype=torch.uint8)}
    path = written(tmp_path / "umt5.safetensors", {k: v.clone() for k, v in tensors.items()})
    assert checkpoint.tokenizer(path).prompt("a red barn")[-1] == 1
    checkpoint.load(checkpoint.open_set(path, names.TEXT))
    with pytest.raises(BadWeights, match=r"plain\.safetensors holds no tokenizer"):
        checkpoint.tokenizer(written(tmp_path / "plain.safetensors", states[names.TEXT]["official"]))
    broken = {"spiece_model": torch.zeros(50, dtype=torch.uint8)}
    with pytest.raises(BadWeights, match="spiece_model is no vocabulary"):
        checkpoint.tokenizer(written(tmp_path / "broken.safetensors", broken))


# ---------------------------------------------------------------- refusals


def one_sentence(error) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_numbers_that_are_not_finite_are_refused_before_a_step(tmp_path, states, stored):
    tensors = dict(states[names.TRANSFORMER]["official"])
    value = tensors["blocks.1.ffn.0.weight"].clone()
    value[3, 5] = torch.nan
    tensors["blocks.1.ffn.0.weight"] = value.to(stored)
    opened = checkpoint.open_set(written(tmp_path / "nan.safetensors", tensors))
    with pytest.raises(BadWeights, match=r"nan\.safetensors: blocks\.1\.ffn\.0\.weight holds numbers") as refused:
        checkpoint.load(opened)
    one_sentence(refused)


def test_numbers_too_large_for_the_precision_are_refused(tmp_path, states):
    tensors = dict(states[names.TRANSFORMER]["official"])
    tensors["blocks.0.ffn.0.weight"] = tensors["blocks.0.ffn.0.weight"].clone().fill_(1e6)
    opened = checkpoint.open_set(written(tmp_path / "large.safetensors", tensors))
    checkpoint.load(opened, torch.bfloat16)
    with pytest.raises(BadWeights, match=r"large\.safetensors: blocks\.0\.ffn\.0\.weight in float16 holds numbers"):
        checkpoint.load(opened, torch.float16)


def changed(states, **tensors) -> dict[str, torch.Tensor]:
    out = dict(states[names.TRANSFORMER]["official"])
    for name, value in tensors.items():
        name = name.replace("__", ".")
        if value is None:
            out.pop(name)
        else:
            out[name] = value
    return out


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"blocks__1__ffn__2__weight": None}, r"lacks blocks\.1\.ffn\.2\.weight"),
        ({"blocks__1__ffn__2__weight": torch.zeros(64, 128)}, r"is \(64, 128\), expected \(128, 64\)"),
        ({"blocks__0__self_attn__q__weight": torch.zeros(128, 128, dtype=torch.int8)}, "stored as I8, expected"),
        ({"audio_proj__weight": torch.zeros(3)}, "made for talking figures"),
        ({"something__else": torch.zeros(3)}, "does not know what they are for"),
        ({"head__head__bias": torch.zeros(64, 1)}, r"head\.head\.bias is \(64, 1\): expected 1 dimensions"),
        ({"gone__scale_weight": torch.ones(())}, r"a scale for gone\.weight, which is not in it"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, states, tensors, sentence):
    path = written(tmp_path / "odd.safetensors", changed(states, **tensors))
    with pytest.raises(BadWeights, match=rf"odd\.safetensors.*{sentence}") as refused:
        checkpoint.open_set(path)
    one_sentence(refused)


def test_swapped_names_are_refused(tmp_path, states):
    tensors = dict(states[names.TRANSFORMER]["official"])
    a, b = "blocks.0.ffn.0.weight", "blocks.0.ffn.2.weight"
    tensors[a], tensors[b] = tensors[b], tensors[a]
    with pytest.raises(BadWeights, match="its names are mixed up"):
        checkpoint.open_set(written(tmp_path / "swapped.safetensors", tensors))


def test_another_network_than_asked_for_is_named(tmp_path, states):
    path = written(tmp_path / "vae.safetensors", states[names.AUTOENCODER]["official"])
    with pytest.raises(BadWeights, match="is an autoencoder of the Wan family: expected a transformer"):
        checkpoint.open_set(path, names.TRANSFORMER)
    other = written(tmp_path / "flux.safetensors", {"double_blocks.0.img_attn.norm.query_norm.scale": torch.ones(3)})
    with pytest.raises(BadWeights, match="is a FLUX transformer: expected a transformer of the Wan family"):
        checkpoint.open_set(other, names.TRANSFORMER)


def raw(value: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def described(begin: int, end: int, shape: list | None = None, dtype: object = "F32") -> dict:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


MANY = b"{" + b",".join(b'"t%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(100_000)) + b"}"
LARGE = 31 * 2**20
BAD = {
    "empty": (b"", "has 0 bytes"),
    "one byte": (b"{", "has 1 bytes"),
    "2^63": (struct.pack("<Q", 2**63) + b"{}", r"header has 9223372036854775808 bytes: at most"),
    "longer than the file": (raw({}, length=5000) + b" " * 50, "is cut off: its header has 5000 bytes"),
    "100,000 entries": (raw(MANY), "names 100000 tensors: at most 50000"),
    "a million values": (raw(b'{"a":[' + b"0," * 5_000_000 + b"0]}"), "more than 2000000 values"),
    "deep": (raw(b'{"a":' + b"[" * 100_000 + b"}"), "header that is not JSON"),
    "not JSON": (raw(b"{]" + b" " * 20), "header that is not JSON"),
    "not UTF-8": (raw(b'{"\xff\xfe":1}'), "header that is not JSON"),
    "zeros": (bytes(5000), "does not begin with a header"),
    "noise": (random.Random(1).randbytes(5000), "does not begin with a header"),
    "no description": (raw({"a": [1, 2]}), "a is not described by dtype"),
    "unknown type": (raw({"a": described(0, 4, dtype="Q7")}, bytes(4)), "unknown type 'Q7'"),
    "type is a list": (raw({"a": described(0, 4, dtype=[])}, bytes(4)), "unknown type"),
    "negative": (raw({"a": described(0, 4, [-1])}, bytes(4)), "not whole numbers"),
    "true": (raw({"a": described(0, 4, [True])}, bytes(4)), "not whole numbers"),
    "huge": (raw({"a": described(0, 4, [2**61, 2**61])}, bytes(4)), "but has 4 bytes"),
    "too few bytes": (raw({"a": described(0, 4, [2])}, bytes(4)), r"is \(2,\) F32 but has 4 bytes"),
    "overlap": (raw({"a": described(0, 8), "b": described(4, 12)}, bytes(12)), "b overlaps the tensor before it"),
    "gap": (raw({"a": described(0, 4), "b": described(8, 12)}, bytes(12)), "b leaves a gap"),
    "cut off": (raw({"a": described(0, 400)}, bytes(100)), "is cut off: it has"),
    "trailing": (raw({"a": described(0, 4)}, bytes(9)), "5 bytes after its last tensor"),
    "twice": (raw(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'), "a stands in it twice"),
    "metadata": (raw({"__metadata__": {"a": 1}}), "metadata that are not texts"),
    "a long text": (
        raw(b'{"__metadata__":{"a":"\\ud83d\\ude00' + b"x" * LARGE + b'","b":1}}'),
        "metadata that are not",
    ),
    "a pickle": (b"\x80\x04\x95" + bytes(100), "is a pickle, which could run code"),
    "a zip": (b"PK\x03\x04" + bytes(100), "is a PyTorch file .*`python -m engine convert`"),
    "GGUF": (b"GGUF" + bytes(100), "is a GGUF file"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n" + bytes(90), "is a Git LFS pointer"),
    "a page": (b"\n<!DOCTYPE html><html>" + bytes(90), "is a web page"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, kind):
    """By every way in: the header, a job's loading, and the command within 500 MB of memory."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD[kind][0])
    for read in (header.read, checkpoint.open_set):
        with pytest.raises(BadWeights, match=rf"bad\.safetensors.*{BAD[kind][1]}") as refused:
            read(path)
        sentence = one_sentence(refused)
    ended = engine("inspect", path, memory=MEMORY)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", sentence + "\n")


def test_a_folder_a_pipe_and_nothing_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name, sentence in (("none.safetensors", "can't be read"), (".", r"pipe\.safetensors is not a regular file")):
        with pytest.raises(BadWeights, match=sentence):
            header.read_set(tmp_path / name)
    (tmp_path / "two").mkdir()
    for name in ("one", "other"):
        written(tmp_path / "two" / f"{name}.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(BadWeights, match="two holds 2 sets of weights: expected one"):
        header.read_set(tmp_path / "two")


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{", b'{"weight_map": {}}', b'{"weight_map": {"a": "../x.safetensors"}}',
     b'{"weight_map": {"a": []}}', b'{"weight_map": {"a": "/etc/passwd"}}', b"[" * 100_000],
)  # fmt: skip
def test_a_broken_index_is_refused(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(text)
    with pytest.raises(BadWeights, match=r"model\.safetensors\.index\.json") as refused:
        header.read_set(path)
    one_sentence(refused)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    for i in (1, 2):
        written(tmp_path / f"m-0000{i}-of-00002.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(BadWeights, match="a lies in m-00001-of-00002"):
        header.read_set(tmp_path)


def test_no_change_of_a_header_is_another_error(tmp_path, states):
    """Bytes changed, cut and doubled at random: read, or refused; nothing else."""
    path = written(tmp_path / "whole.safetensors", states[names.TEXT]["official"])
    whole, rng, refused = path.read_bytes(), random.Random(4), 0
    length = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 10])):
            at = rng.randrange(length)
            data[at : at + rng.choice([0, 1, 1, 5])] = rng.randbytes(rng.choice([0, 1, 1, 3]))
        path.write_bytes(data)
        try:
            checkpoint.load(checkpoint.open_set(path))
        except BadWeights as error:
            refused += "whole.safetensors" in str(error)
    assert refused > 200


# ---------------------------------------------------------------- inspect


def inspected(path: Path) -> dict:
    ended = engine("inspect", path, memory=MEMORY)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def hollow(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str, prefix: str = "") -> Path:
    """A file of these tensors with nothing in it: its header is real, its numbers take no space on the disk."""
    table, at = {}, 0
    for name, shape in shapes.items():
        end = at + torch.Size(shape).numel() * header.BITS[dtype] // 8
        table[prefix + name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(table).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    return path


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_an_official_file_is_known_by_its_header(tmp_path, prefix):
    """The real VAE's names and shapes, 254 MB of bf16 that are not there."""
    known = catalogue.CHECKPOINTS["Wan2.1 autoencoder"]
    shapes = {n: tuple(v.shape) for n, v in checkpoint.made(known.config).state_dict().items()}
    found = inspected(hollow(tmp_path / "vae.safetensors", shapes, "BF16", prefix))
    assert found["variant"] == "Wan2.1 autoencoder" and found["official_fingerprint"] == known.fingerprint
    assert (found["fingerprint"] == known.fingerprint) is (prefix == "")
    assert (found["family"], found["role"], found["naming"], found["prefix"]) == (
        "wan",
        "autoencoder",
        "official",
        prefix,
    )
    assert found["precision"] == {"bf16": 126892531} and found["parameters"] == 126892531 and found["tensors"] == 194
    assert found["dimensions"] == {"generation": "2.1", "width": 96, "decoder_width": 96, "channels": 16}


def test_a_transformer_is_described(tmp_path, states):
    tensors = eight_bits(states[names.TRANSFORMER]["official"], ".scale_weight")
    found = inspected(written(tmp_path / "small.safetensors", tensors))
    assert found["family"] == "wan" and found["role"] == "transformer" and found["variant"] is None
    assert found["what"] == "a Wan transformer that is none of the official ones"
    assert found["dimensions"]["width"] == 128 and found["dimensions"]["vace_layers"] == [0, 1]
    assert "control video" in found["controls"] and "camera" not in found["controls"]
    assert next(iter(found["precision"])) == "fp8 e4m3" and found["scaled"] > 0
    theirs = inspected(written(tmp_path / "theirs.safetensors", states[names.TRANSFORMER]["theirs"]))
    assert theirs["naming"] == "diffusers" and theirs["dimensions"] == found["dimensions"]
    assert theirs["official_fingerprint"] == found["official_fingerprint"] != theirs["fingerprint"]


@pytest.mark.parametrize(
    ("tensors", "what"),
    [
        (("blocks.0.self_attn.q.lora_A.weight", "blocks.0.self_attn.q.lora_B.weight"), "a LoRA of a Wan transformer"),
        (("lora_unet_blocks_0_cross_attn_k.lora_down.weight", "lora_unet_blocks_0_cross_attn_k.lora_up.weight",
          "lora_unet_blocks_0_cross_attn_k.alpha"), "a LoRA of a Wan transformer"),
        (("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight",), "a LoRA of another model"),
        (("model.diffusion_model.input_blocks.0.0.weight",), "a Stable Diffusion checkpoint"),
        (("conditioner.embedders.0.x", "model.diffusion_model.input_blocks.0.0.weight"),
         "a Stable Diffusion XL checkpoint"),
        (("txt_in.individual_token_refiner.blocks.0.norm1.weight",), "a HunyuanVideo transformer"),
        (("encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"), "a T5 text encoder that is not umT5"),
        (("model.layers.0.self_attn.q_proj.weight",), "a language model"),
        (("nothing.known",), "of a kind that is not known here: 1 tensors, the first nothing.known"),
        ((), "a file without tensors"),
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_is_named(tmp_path, tensors, what):
    found = inspected(written(tmp_path / "other.safetensors", {name: torch.zeros(2, 2) for name in tensors}))
    assert (found["family"], found["what"]) == (None, what)


def test_the_bundled_weights_are_named():
    found = inspection.report(store.shards(store.BUNDLED, "lite")[0])
    assert (found["family"], found["what"]) == ("lite", "weights of lite")


# ---------------------------------------------------------------- convert


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(("wrapped", "old"), [(False, False), (True, True)])
def test_a_pth_becomes_safetensors(tmp_path, states, wrapped, old):
    tensors = states[names.AUTOENCODER]["official"] | {
        "half": torch.ones(3, dtype=torch.bfloat16),
        "one": torch.tensor(2),
    }
    tensors["turned"] = torch.arange(6.0).view(2, 3).T
    path = tmp_path / "Wan2.1_VAE.pth"
    torch.save({"state_dict": tensors} if wrapped else tensors, path, _use_new_zipfile_serialization=not old)
    ended = engine("convert", path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["role"] == "autoencoder"
    found = load_file(tmp_path / "Wan2.1_VAE.safetensors")
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in tensors.items())
    assert header.read(tmp_path / "Wan2.1_VAE.safetensors").metadata == {"format": "pt"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors"]


def test_a_pickle_that_would_run_code_does_not(tmp_path):
    canary = tmp_path / "canary"
    for old in (False, True):
        path = tmp_path / "bomb.pth"
        torch.save({"a": Bomb(canary)}, path, _use_new_zipfile_serialization=not old)
        ended = engine("convert", path)
        assert ended.returncode == 1 and ended.stderr.startswith("bomb.pth is not a plain table of tensors")
        assert len(ended.stderr.splitlines()) == 1 and not canary.exists()
        with pytest.raises(BadWeights, match="is a PyTorch file" if not old else "PyTorch file|pickle"):
            header.read(path.rename(tmp_path / f"bomb-{old}.safetensors"))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": torch.zeros(4, 4).to_sparse()}, "a is not a plain dense tensor"),
        ({"a": torch.zeros(1).expand(2**26)}, "more than twice its own"),
        ({"a": torch.zeros(3, dtype=torch.complex64)}, "a is not a plain dense tensor"),
        ({"a": 3}, "a is int, expected a tensor"),
        ([torch.zeros(3)], "holds list, expected a table"),
        ({}, "holds dict, expected a table of 1 to"),
        ({5: torch.zeros(3)}, "5 is Tensor, expected a tensor"),
    ],
)
def test_what_is_no_table_of_dense_tensors_is_refused(tmp_path, value, sentence):
    path = tmp_path / "odd.pth"
    torch.save(value, path)
    with pytest.raises(BadWeights, match=rf"^odd\.pth.*{sentence}") as refused:
        convert.convert(path, path.with_suffix(".safetensors"))
    one_sentence(refused)
    assert [p.name for p in tmp_path.iterdir()] == ["odd.pth"]


def test_an_archive_that_is_not_pytorchs_is_refused(tmp_path):
    path, out = tmp_path / "packed.pth", tmp_path / "out.safetensors"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    with pytest.raises(BadWeights, match=r"packed\.pth is not packed as PyTorch packs"):
        convert.convert(path, out)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(BadWeights, match="holds no table of tensors"):
        convert.convert(path, out)
    path.write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(BadWeights, match="is no PyTorch file"):
        convert.convert(path, out)


def test_inspect_brings_no_torch():
    code = "import sys, engine.weights.inspection; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_plain_text_to_video_has_no_controls(tmp_path, oracles):
    oracle = oracles.randomise(WanTransformer3DModel(**SMALL))
    found = inspection.report(written(tmp_path / "t2v.safetensors", oracles.official(oracle)))
    assert found["controls"] == []
