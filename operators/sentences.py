"""What the engine and the background Blender say, in the artist's language. Both know no translations: they write
whole English sentences, which also go into logs and bug reports. Here stand the same sentences with room for their
values; one that is heard is found among them, and the words that Blender has for it are filled with what it said.

A sentence that is not here is shown as it came: refusals of a damaged job folder, which only a hand or a disk makes so.
"""

from __future__ import annotations

import re
from functools import cache

from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_

HEARD = (
    # the capture
    n_("Unsaved pictures are not in the capture: {}"),
    n_("The background Blender ended (code {}) after {} of {} frames: {}"),
    n_("Python scripts of this file may not run in this session, and did not in the capture (open the file again with "
       "Trusted Source to allow them): {}"),
    n_("The background Blender lacks add-ons that are enabled here: {}"),
    n_("Linked libraries are missing: {}"),
    n_("Image files are missing: {}"),
    n_("Cache files are missing: {}"),
    n_("Baked simulations are not on the disk, and stand still: {}"),
    n_("Simulations without a baked cache may differ from the viewport: {}"),
    n_("Grease pencil objects are not in the passes: {}"),
    n_("Shadow catchers are not in the passes: {}"),
    n_("Volumes are not in the passes: {}"),
    n_("Drivers that fail: {}"),
    n_("{} and {} more"),
    # the camera report
    n_("follows within {} deg"),
    n_("holds still within {} deg"),
    n_("does not follow the camera: {}"),
    n_("cannot be measured: {}"),
    n_("too small to tell at {}x{} whether it follows the camera: {}"),
    n_("too little to go by to tell whether it follows the camera: {}"),
    n_("turned {} deg away from it"),
    n_("{} % of the path away from it"),
    n_("drifts by {} % of the depth while the camera rests"),
    n_("moves differently by {} % of the planned motion"),
    n_("the picture stands still"),
    n_("1 frame late"),
    n_("1 frame early"),
    n_("{} frames late"),
    n_("{} frames early"),
    n_("no camera was found"),
    n_("the camera could not be solved"),
    n_("a single frame: nothing to compare it with"),
    n_("no camera moving through this scene would see what {} of {} frames show"),
    n_("too little texture on still surfaces to see the camera move by"),
    n_("too few corners on still surfaces to find the camera of {} of {} frames by"),
    n_("nothing can be followed from frame to frame: the points of {} of {} frames were lost"),
    # the engine
    n_("The negative prompt has no effect at guidance 1; raise guidance to 1.5 or more"),
    n_("No words were found in the prompt; the look is the plainest daylight"),
    n_("Not understood, so without effect: {}"),
    n_("Settings, camera or weights changed since this job was stopped; it began afresh"),
    n_("The record of earlier work was damaged; the job began afresh"),
    n_("the engine was ended: run the job again, it goes on where it stopped"),
    n_("the disk is full ({}): free some space and run the job again"),
    n_("the disk is full: {} needs {} bytes and {} are free; free some space and run it again, finished work is kept"),
    n_("memory ran out ({}): choose a smaller width, or close other programs, and run the job again"),
    n_("the engine's Python lacks something ({}): {}"),
    n_("a file can't be read or written ({}): check the job's folder"),
    n_("the engine failed ({}: {}): its log says where"),
    n_("another engine is at work in this folder: wait for it, or cancel it there"),
    # models that the artist brings
    n_("the LoRA {} is not on this machine; known are {}: import it, or leave it out"),
    n_("{} can be told neither depth nor camera, so its frames would not follow the shot: choose a VACE, Control or "
       "Camera model, set Control to 0 to film without, or begin with the base colours (denoise)"),
    n_("{} has no input for reference pictures: choose a VACE or Control model, or none of them"),
    n_("{} is told known frames and pictures by its control, which is 0: raise Control"),
    n_("{} reads {} reference pictures at most, not {}: leave some out"),
    n_("{} goes on from a first frame, and the job has none: give one, or choose another model"),
    n_("{} goes from a first frame to a last one, and the job has one of them: give both"),
    n_("{} goes on from a first frame, and only one of {} cameras has one: film each camera as a shot of its own, or "
       "choose another model"),
    n_("{} looks at its first frame through CLIP, which its entry lacks: import clip_vision_h"),
    n_("{} has no input for known frames: choose a VACE model, or leave them out"),
    n_("the first and the last frame"),
    n_("the first frame"),
    n_("{} can be told {} only, not frame {}: choose a VACE model, or leave it out"),
    n_("Memory ran out while {}; goes on from the last step: {}"),
    n_("{} of {} that are free on {}"),
    n_("everything stays loaded"),
    n_("the text encoder runs first and is freed"),
    n_("one network at a time, predictions and frames one by one"),
    n_("the same, and pictures in tiles"),
    n_("the same, and blocks fetched as they are needed"),
    n_("the same, and weights in 8 bits"),
    n_("on the processor"),
    n_("Needs {} of {} that are free on {}: {}"),
    n_("the model {} is not on this machine; expected {}: fetch or import it in the add-on's preferences, or choose "
       "another in the panel"),
    n_("{} of the model {} is not there: fetch or import it again in the add-on's preferences"),
    n_("{} is no second expert of {}: their sizes differ; choose another"),
    n_("{} has latents of {} channels and {} makes {}: give the model {} the autoencoder of its generation"),
    n_("{} gives {} numbers a token and {} reads {}: give the model {} the text encoder umT5-XXL"),
    n_("{} gives {} numbers a token and {} reads {}: give the model {} the image encoder CLIP ViT-H/14 "
       "(clip_vision_h)"),
    n_("the LoRA {} is for the {}-noise one of two experts, and {} has one network: leave it out"),
    n_("Of the LoRA {}, {} of {} layers have no place in this model"),
    n_("this computer's memory"),
    # their manager
    n_("{} is no address on the web: expected one that begins with https://"),
    n_("{} does not come ({}): check the connection and fetch it again, it goes on where it stopped"),
    n_("the server has no {} to give ({} {}): import the file if you have it, or choose another server"),
    n_("the server answers {}"),
    n_("the server has another {} ({}) than the one that is listed ({}), so nothing was fetched: import the file if "
       "you have it"),
    n_("the server does not say how long {} is, so that it could not be known to be whole: choose another server, "
       "or import the file"),
    n_("cut off after {} of {} bytes"),
    n_("the server has another part than the one that is missing"),
    n_("{} can't be written to {} ({}): choose another folder"),
    n_("the disk is full: {} needs {} GB more and {} GB are free in {}; free some space or choose another folder "
       "and fetch it again, it goes on where it stopped"),
    n_("{} has the checksum {} and {} was expected, so it was removed: fetch it again"),
    n_("no part of a model"),
    n_("{} from the server is {}, expected a {}, so it was removed: choose another server, or import the file"),
    n_("there is no {}: name a file or a folder that is there"),
    n_("{} lacks its {}: fetch the model, which brings what is missing"),
    n_("no model that is not listed already was found there: choose another folder, or fetch one"),
    n_("text encoder umT5-XXL"),
    n_("transformer for little noise"),
    n_("image encoder"),
    n_("there is no model {} in the list: expected {}"),
    n_("{} is listed because it lies in {}: have its files deleted, too, or move that folder elsewhere"),
    # its process
    n_("the engine can't start ({}): {}"),
    n_("the engine can't start ({}): {}; its log is {}"),
    n_("the engine said nothing for {} s after its start: see its log, {}"),
    n_("the engine stopped ({}): {}"),
    n_("the engine was closed: {}"),
    n_("the other end is Shotlock {} (protocol {}) and this end is {} (protocol {}): install the add-on again and "
       "restart Blender"),
    n_("run the job again, it goes on where it stopped"),
    n_("press Install Engine in the add-on's preferences, or choose another Python there"),
    n_("its Python is older than 3.11"),
    n_("{} holds no engine"),
    n_("it closed its end"),
    n_("it is of another version"),
    n_("it closed"),
    n_("told to end"),
    n_("killed, as the system does when memory runs out"),
    n_("no more memory or disk for a mapped file"),
    n_("a crash in a library"),
    n_("ended by a signal"),
    n_("exit code {}"),
)
MARKS = (" · ", ", ")
"""Between figures of a verdict, and things that are wrong: each is a sentence of its own."""


def told(text: str) -> str:
    """A sentence as it was heard → in the artist's language, its values where they belong."""
    marks = [mark for mark in MARKS if mark in text]
    for mark in marks:
        if all(map(is_known, text.split(mark))):  # two faults, not one with a long value
            return mark.join(map(told, text.split(mark)))
    for pattern, sentence in patterns():
        if found := pattern.fullmatch(text):
            return rpt_(sentence).format(*map(told, found.groups()))
    return marks[0].join(map(told, text.split(marks[0]))) if marks else text


def is_known(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern, _ in patterns())


@cache
def patterns() -> list[tuple[re.Pattern[str], str]]:
    """Those with the most words of their own first: one sentence may begin like another."""
    known = sorted(HEARD, key=lambda sentence: -len(sentence.replace("{}", "")))
    return [(re.compile(re.escape(sentence).replace(r"\{\}", "(.+)"), re.DOTALL), sentence) for sentence in known]
