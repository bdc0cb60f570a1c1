"""Words: what lite knows, what it says it does not know, and when the prompt leaves the light to the scene."""

import pytest

from engine.prompt import words


@pytest.mark.parametrize("table", [words.TIMES, words.WEATHERS, words.PLACES, words.STYLES, words.MATERIALS])
def test_every_word_that_was_taught_is_understood(table):
    for phrases in table.values():
        for phrase in phrases:
            assert words.not_understood(phrase) == []


def test_strange_words_are_told_once_in_their_order():
    found = words.not_understood("A knight rides past the snowy bakery, a KNIGHT in the fog, 3 dragons")
    assert found == ["knight", "rides", "bakery", "dragons"]


def test_what_the_scene_calls_its_things_is_understood():
    assert words.not_understood("a knight by the well", ["Knight.001", "Well_stone"]) == []


def test_forms_of_a_word_are_one_word():
    assert words.not_understood("snows, snowed, misty mists, houses bricks coloured colored") == []


@pytest.mark.parametrize(
    ("prompt", "tells"),
    [("a village street", False), ("red brick houses", False), ("", False), ("a blue door", False), ("at dusk", True),
     ("the blue hour", True), ("heavy rain", True), ("golden hour", True), ("Sunny", True), ("watercolour", False)],
)  # fmt: skip
def test_a_prompt_without_light_leaves_it_to_the_scene(prompt, tells):
    assert words.tells_light(prompt) is tells
