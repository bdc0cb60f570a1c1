"""The tokenizer gives the ids that `tokenizers` and SentencePiece give, in ten languages and beyond."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from engine.models.wan import vocabulary
from engine.models.wan.tokenizer import clean

HERE = Path(__file__).resolve().parent
COUNT = 2000


@pytest.fixture(scope="module")
def languages(load_support):
    return load_support("ten_languages")


@pytest.fixture(scope="module")
def trained(languages):
    """A `tokenizer.json`: a small unigram vocabulary with NMT's NFKC, an end, bytes, and a token that is no piece."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=3000, special_tokens=special + vocabulary.BYTES, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(languages.corpus(), trainer)
    value = json.loads(tokenizer.to_str())
    value["added_tokens"] = [a for a in value["added_tokens"] if a["content"] in special]
    extra = {"id": len(value["model"]["vocab"]), "content": "<extra_id_0>"}
    value["added_tokens"].append(value["added_tokens"][0] | extra)
    assert len(value["model"]["vocab"]) > 1000
    return value


@pytest.fixture(scope="module")
def model() -> bytes:
    """A real SentencePiece model; see support/ten_languages.py."""
    return lzma.decompress((HERE / "support" / "sentencepiece.model.xz").read_bytes())


def differing(found, oracle: Tokenizer, strings: list[str]) -> list[str]:
    return [text for text in strings if found.ids(text) != oracle.encode(text, add_special_tokens=False).ids]


METASPACE = {"type": "Metaspace", "replacement": "▁", "split": True}
SPLITS = {
    "always": METASPACE | {"prepend_scheme": "always"},
    "first": METASPACE | {"prepend_scheme": "first"},
    "never, unsplit": METASPACE | {"prepend_scheme": "never", "split": False},
    "words first": {
        "type": "Sequence",
        "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE | {"prepend_scheme": "always"}],
    },
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("by_bytes", [True, False])
def test_ids_of_a_trained_vocabulary(trained, languages, split, by_bytes):
    value = trained | {"pre_tokenizer": SPLITS[split], "model": trained["model"] | {"byte_fallback": by_bytes}}
    oracle = Tokenizer.from_str(json.dumps(value))
    strings = languages.strings(COUNT)
    assert len(set(strings)) > COUNT * 0.95
    assert differing(vocabulary.from_json(json.loads(oracle.to_str())), oracle, strings) == []


def test_unknown_characters_occur_and_become_bytes(trained, languages):
    """Otherwise the comparison above would say little of the fallback."""
    tokenizer = vocabulary.from_json(trained | {"model": trained["model"] | {"byte_fallback": True}})
    bytes_ = set(tokenizer.vocabulary.bytes)
    assert sum(not bytes_.isdisjoint(tokenizer.ids(text)) for text in languages.strings(COUNT)) > 100
    assert tokenizer.ids("𓀀")[-4:] == [tokenizer.vocabulary.bytes[b] for b in "𓀀".encode()]


def test_ids_of_sentencepiece(model):
    """What SentencePiece itself read in 400 strings: its charsmap, dummy space, user-defined pieces, bytes."""
    tokenizer = vocabulary.parse(model)
    with lzma.open(HERE / "support" / "sentencepiece_ids.json.xz", "rt") as file:
        read = json.load(file)
    assert len(read) == 400
    assert [text for text, ids in read if tokenizer.ids(text) != ids] == []
    assert tokenizer.vocabulary.end == 1 and tokenizer.vocabulary.size == 900


def precompiled(model: bytes, steps: list) -> Tokenizer:
    """The SentencePiece model as a `tokenizer.json` would have it."""
    parts = list(vocabulary.fields(model))
    pieces = [dict(vocabulary.fields(value)) for number, value in parts if number == 1]
    charsmap = next(dict(vocabulary.fields(value))[2] for number, value in parts if number == 3)
    entries = [(p[1].decode(), vocabulary.as_float(p.get(2, bytes(4)))) for p in pieces]
    tokenizer = Tokenizer(models.Unigram(entries, 2, True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), *steps])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


@pytest.mark.parametrize("strip", [False, True])
def test_ids_with_a_compiled_charsmap(model, languages, strip):
    steps = [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")] if strip else []
    oracle = precompiled(model, steps)
    assert differing(vocabulary.from_json(json.loads(oracle.to_str())), oracle, languages.strings(COUNT)) == []


def test_a_charsmap_reads_every_character_and_cluster_alike(model):
    charsmap_bytes = next(
        dict(vocabulary.fields(value))[2] for number, value in vocabulary.fields(model) if number == 3
    )
    charsmap, oracle = vocabulary.Charsmap(charsmap_bytes), normalizers.Precompiled(charsmap_bytes)
    characters = [chr(c) for c in range(1, 0x30000) if not 0xD800 <= c < 0xE000]
    assert [c for c in characters if vocabulary.shortest_first(charsmap, c) != oracle.normalize_str(c)] == []
    rng = random.Random(1)
    pool = "aeé\u0301\u0308\u200d\ufe0f\u0345\u0600\r\n\u1100\u1161\u0e33กｅ\U0001f3fb1\u0903\u0e01\u00ad\u0610ﬁ✂😀"
    clusters = ["".join(rng.choices(pool, k=rng.randint(1, 8))) for _ in range(5000)]
    assert [c for c in clusters if vocabulary.shortest_first(charsmap, c) != oracle.normalize_str(c)] == []


def test_a_prompt_is_cleaned_cut_and_ended(trained):
    tokenizer = vocabulary.from_json(trained)
    assert clean("  a &amp;amp; b\n\t“film” it’s cafe\u0301 ") == 'a & b "film" it\'s café'
    assert tokenizer.prompt(" a \n barn ") == [*tokenizer.ids("a barn"), 1]
    long = tokenizer.prompt("barn fog rain " * 400)
    assert len(long) == 512 and long[-1] == 1
    assert tokenizer.prompt("") == [1]


def test_a_vocabulary_is_found_in_a_folder(tmp_path, trained, model):
    with pytest.raises(vocabulary.BadVocabulary, match=r"no tokenizer\.json and no spiece\.model"):
        vocabulary.read(tmp_path)
    (tmp_path / "spiece.model").write_bytes(model)
    assert vocabulary.read(tmp_path).vocabulary.size == 900
    (tmp_path / "tokenizer.json").write_text(json.dumps(trained))
    assert vocabulary.read(tmp_path).vocabulary.size > 1000


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b'{"model": {"type": "BPE", "vocab": {}}}', b"not a vocabulary", b"\xff" * 100,
        b"\x0a\xff\xff\xff\xff\x0f",
        b'{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0]]}, "normalizer": {"type": "BertNormalizer"}}',
        b"[" * 100_000, b'{"model":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_vocabulary_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "spiece.model"
    path.write_bytes(content)
    with pytest.raises(vocabulary.BadVocabulary, match=r"spiece\.model is no unigram vocabulary") as refused:
        vocabulary.read(path)
    assert "\n" not in str(refused.value)


def test_a_cut_model_is_refused(tmp_path, model):
    path = tmp_path / "spiece.model"
    rng = random.Random(3)
    for _ in range(40):
        path.write_bytes(model[: rng.randrange(1, len(model) - 40_000)])
        with pytest.raises(vocabulary.BadVocabulary):
            vocabulary.read(path)
