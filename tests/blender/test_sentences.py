"""What the engine and the background Blender say is known to the add-on, word for word, and so can be translated."""

import ast
import re
import string
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEAKERS = {    # file → the functions, or names of constants, whose sentences reach the artist
    "operators/capture.py": ("_start", "_ended"),
    "operators/lacking.py": ("warnings", "drivers", "_list"),
    "engine/measure/verdict.py": ("faults", "when", "unmeasured", "judge", "doubt", "blame", "praise"),
    "engine/measure/report.py": ("why_untracked",),
    "engine/generate.py": ("warnings",),
    "engine/take.py": ("camera_report",),
    "engine/generate_wan.py": ("found_loras", "refuse", "refuse_known", "refuse_without_first", "step_down",
                               "take_rung", "warnings"),
    "engine/need.py": ("RUNGS",),
    "engine/forecast.py": ("rung",),
    "engine/registry.py": ("entry",),
    "engine/weights/networks.py": ("open_model", "refuse_strangers", "merge"),
    "engine/weights/machine.py": ("name",),
    "engine/weights/fetch.py": ("fetch", "ask", "refuse_other", "receive", "keep", "full", "finished"),
    "engine/weights/manager.py": ("nothing", "existing", "refuse_wrong", "removed", "removed_look", "IN_WORDS"),
    "engine/state.py": ("_begin",),
    "engine/worker.py": ("explain", "ENDED"),
    "engine/job.py": ("disk_full", "_lock"),
    "engine/protocol.py": ("INSTALL", "mismatch"),
    "engine/client.py": ("start", "close", "_launch", "_see_to_process", "_mourn", "last_word", "describe", "AGAIN",
                         "CRASH", "SIGNALS", "CODES"),
}
SINGLE = {"engine/measure/report.py": "a single frame: nothing to compare it with"}     # said among much else


@pytest.fixture
def sentences(shotlock):
    from shotlock.operators import sentences

    return sentences


def said(tree: ast.AST) -> list[str]:
    """Every text in it that is a sentence: two words or more, values as {}; not what documents or is looked for."""
    documents = {id(node.body[0].value) for node in ast.walk(tree)
                 if isinstance(node, ast.FunctionDef) and isinstance(node.body[0], ast.Expr)}
    asks = [node for node in ast.walk(tree) if getattr(getattr(node, "func", None), "attr", "") == "startswith"]
    asks += [node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.Set)]     # names that are looked up
    documents |= {id(part) for node in asks for part in ast.walk(node)}
    parts = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (documents | parts):
            found.append(node.value)
    return [text for text in found if len(re.findall(r"[A-Za-z]{2,}", text)) > 1 and " " in text]


def speeches(file: str, names: tuple[str, ...]) -> list[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    parts = [node for node in ast.walk(tree) if getattr(node, "name", "") in names
             or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in names)
             or (isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") in names)]
    assert len(parts) >= len(names), (file, names)
    return [text for part in parts for text in said(part)]


@pytest.mark.parametrize("file", SPEAKERS)
def test_what_is_said_is_known(sentences, file):
    """A sentence that is changed there and not here would be shown in English for ever."""
    assert [text for text in speeches(file, SPEAKERS[file]) if not sentences.is_known(text)] == []


def test_what_is_known_is_said(sentences):
    """And nothing stands here that nobody says any longer."""
    heard = [text for file, names in SPEAKERS.items() for text in speeches(file, names)]
    for file, text in SINGLE.items():
        assert text in (ROOT / file).read_text(encoding="utf-8")
        heard.append(text)
    everything = " | ".join(heard)
    assert [text for text in sentences.HEARD if text not in heard and text not in everything] == []


@pytest.mark.parametrize("heard, shown", [
    ("follows within 0.16 deg, 0.6 % · 34 dB", "<follows within 0.16 deg>, 0.6 % · 34 dB"),
    ("does not follow the camera: turned 3.1 deg away from it, 2 frames late",
     "<does not follow the camera: <turned 3.1 deg away from it>>, <2 frames late>"),
    ("cannot be measured: a single frame: nothing to compare it with",
     "<cannot be measured: <a single frame: nothing to compare it with>>"),
    ("the engine stopped (SIGKILL, killed, as the system does when memory runs out): run the job again, it goes on "
     "where it stopped", "<the engine stopped (SIGKILL, killed, as the system does when memory runs out): <run the job "
     "again, it goes on where it stopped>>"),
    ("Volumes are not in the passes: Fog, Cloud, {a}, x, y and 3 more",
     "<Volumes are not in the passes: <Fog, Cloud, {a}, x, y and 3 more>>"),
    ("nobody's sentence, as it is", "nobody's sentence, as it is"),
])
def test_a_sentence_is_shown_in_the_artists_language_with_its_values(sentences, monkeypatch, heard, shown):
    monkeypatch.setattr(sentences, "rpt_", lambda sentence: f"<{sentence}>")
    assert sentences.told(heard) == shown
    monkeypatch.undo()
    assert sentences.told(heard) == heard


def test_every_sentence_takes_its_values_by_their_place(sentences):
    for sentence in sentences.HEARD:
        fields = [name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None]
        assert set(fields) <= {""} and sentences.told(sentence) == sentence
