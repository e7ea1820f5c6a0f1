"""Tokenizers: the tokens of each level, decoding, and the library as the twin."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.errors import ConfigError, DataError
from llm_timecycle.text.tokenizer import encode
from llm_timecycle.text.tokenizer.pipelines import Vocabulary, build_pipeline
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

TRICKY = (
    "Hello, “world” it's (ok) <eos> <unk> <UNK> 中文abc，好。 \t x  中 naïve ΑΣ ΑΣΑ. I\u0130 ẞ\n"
    "U.S. 1,000 12:30 3.14 1984. — 😀👨‍👩‍👧 \x85\u3000a\x1cb\x0bc\n\n  \n don’t dogs' "
    "they'll's中 हिन्दी คำ\nー カタカナ ｶﾅ _x_ a..b 〇,5 \x00 <eo\ns> a\u0301 "
    + "x" * 90
    + " " * 60
    + "!" * 30
)
SETTINGS = {
    "char": TokenizerSettings(level="char", vocab_size=60),
    "byte": TokenizerSettings(level="byte", vocab_size=300),
    "word": TokenizerSettings(level="word", vocab_size=30),
    "unicode": TokenizerSettings(level="word", word_split="unicode", vocab_size=40),
    "subword": TokenizerSettings(level="subword", vocab_size=300),
}
LEVELS = pytest.mark.parametrize("level", [*SETTINGS])

# Texts of a few different pieces, so that they meet in many ways.
TEXTS = st.lists(
    st.sampled_from(
        [
            *"ab9 \n\t.,:'\"-<>中の。😀Σ",
            "<eos>",
            "<unk>",
            "  ",
            "\n\n",
            "'s",
            "’ll",
            "\u3000",
            "\u0301",
        ]
    ),
    max_size=25,
).map("".join)

# Of the class of Han characters: letters, numbers, symbols, and ones that are not assigned.
HAN_OF_ALL_KINDS = "中年々〻㐀\ufa0e𠀀𰀀〇〡〩〸〺⺀⻳⿕\ufa6e\ufaff\U0002a6e0\U0003fffd"
BESIDE_HAN = "ab19Ⅳ½ \n\t\u3000.。!'’sのｶ\u0301\ufe0f😀〆"
# Each of them beside each, often enough to become a token together.
MEETINGS = "".join(f"{a}{b}x\n" * 3 for a in BESIDE_HAN for b in HAN_OF_ALL_KINDS)


def train(level: str, text: str = TRICKY, **changes: object) -> Tokenizer:
    """A tokenizer of a level that has seen a text."""
    settings = SETTINGS[level].model_copy(update=changes)
    return Tokenizer.train(settings, [text])


def show(tokenizer: Tokenizer, text: str) -> list[str]:
    """The tokens of a text, as they are shown."""
    return [tokenizer.token(id) for id in tokenizer.encode(text).tolist()]


def open_twin(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """The library's own tokenizer, from our file."""
    return tokenizers.Tokenizer.from_str(tokenizer.to_json())


TRAINED = {level: train(level) for level in SETTINGS}
LOWERING = {level: train(level, lowercase=True) for level in SETTINGS}
TWINS = {level: open_twin(tokenizer) for level, tokenizer in TRAINED.items()}
LOWERING_TWINS = {level: open_twin(tokenizer) for level, tokenizer in LOWERING.items()}

MET = {level: train(level, MEETINGS, vocab_size=600) for level in ("unicode", "subword")}
MET_TWINS = {level: open_twin(tokenizer) for level, tokenizer in MET.items()}


@LEVELS
def test_special_tokens_come_first(level):
    tokenizer = TRAINED[level]
    assert (tokenizer.unk_id, tokenizer.eos_id) == (0, 1)
    assert [tokenizer.token(0), tokenizer.token(1)] == ["<unk>", "<eos>"]


@LEVELS
def test_a_text_has_the_ids_that_the_library_gives(level):
    assert TRAINED[level].encode(TRICKY).tolist() == TWINS[level].encode(TRICKY).ids
    assert LOWERING[level].encode(TRICKY).tolist() == LOWERING_TWINS[level].encode(TRICKY).ids


@LEVELS
@given(text=TEXTS)
def test_any_text_has_the_ids_that_the_library_gives(level, text):
    assert TRAINED[level].encode(text).tolist() == TWINS[level].encode(text).ids
    assert LOWERING[level].encode(text).tolist() == LOWERING_TWINS[level].encode(text).ids


@LEVELS
@given(first=TEXTS, second=TEXTS)
def test_lines_are_encoded_each_for_itself(level, first, second):
    tokenizer = TRAINED[level]
    parts = [*tokenizer.encode(first + "\n"), *tokenizer.encode(second)]
    assert tokenizer.encode(first + "\n" + second).tolist() == parts


@pytest.mark.parametrize("level", ["char", "byte", "subword"])
@given(text=TEXTS)
def test_the_round_trip_is_exact(level, text):
    tokenizer = train(level, text) if level == "char" else TRAINED[level]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@LEVELS
@given(ids=st.lists(st.integers(0, 10_000), max_size=30))
def test_a_stream_gives_the_decoded_text(level, ids):
    tokenizer = TRAINED[level]
    ids = [id % tokenizer.vocab_size for id in ids]
    stream = tokenizer.stream()
    assert "".join(map(stream.push, ids)) + stream.finish() == tokenizer.decode(ids)


@pytest.mark.parametrize("level", ["byte", "subword"])
@given(ids=st.lists(st.integers(2, 257), max_size=12))
def test_bytes_that_form_no_character_are_replaced(level, ids):
    tokenizer = TRAINED[level]
    text = tokenizer.decode(ids)
    if level == "byte":
        assert text == bytes(id - 2 for id in ids).decode("utf-8", "replace")
    assert text == TWINS[level].decode(ids)


def test_characters():
    tokenizer = train("char", "abca")
    assert tokenizer.vocab_size == 5
    assert tokenizer.encode("abcz").tolist() == [2, 3, 4, 0]
    assert tokenizer.decode([4, 0, 1, 2]) == "c\ufffda"


def test_the_most_frequent_characters_are_kept_and_ties_go_by_code_point():
    tokenizer = train("char", "ddcbbaa", vocab_size=5)
    assert [tokenizer.token(id) for id in (2, 3, 4)] == ["a", "b", "d"]
    assert tokenizer.vocab_size == 5
    assert tokenizer.unknown_tokens("cadcx") == ["c", "x"]


def test_bytes():
    tokenizer = TRAINED["byte"]
    assert tokenizer.vocab_size == 258
    # 钟 is E9 92 9F; 0xE9 + 2 = 235, 0x92 + 2 = 148, 0x9F + 2 = 161; "a" is 0x61.
    assert tokenizer.encode("a钟").tolist() == [99, 235, 148, 161]
    assert show(tokenizer, "a \n钟") == ["a", " ", "\\n", "\\xe9", "\\x92", "\\x9f"]


def test_words_at_white_space():
    tokenizer = train("word", "the cat, the dog\nthe <unk> end\n\n")
    assert show(tokenizer, "the  dog\nthe\tbird <unk>\n") == [
        "the", "dog", "<eos>", "the", "<unk>", "<unk>", "<eos>",
    ]  # fmt: skip
    # By frequency, then by alphabet: the (3), then cat, / dog / end (1 each), <unk> not counted.
    assert [tokenizer.token(id) for id in range(2, 6)] == ["the", "cat,", "dog", "end"]
    assert tokenizer.vocab_size == 6
    assert tokenizer.unknown_tokens("a cat, a dog b") == ["a", "b"]


def test_unknown_words_and_marks_are_named():
    tokenizer = train("unicode", "a known text.")
    assert tokenizer.unknown_tokens("a new, known text, new!") == ["new", ",", " ", "!"]


def test_merges():
    tokenizer = train("subword", "abab abab ab", vocab_size=261)
    # ab occurs 5 times, then " ab" and "abab" (twice each).
    assert tokenizer.token(258) == "ab"
    assert tokenizer.vocab_size == 261
    assert show(tokenizer, "ab\n\nba") == ["ab", "\\n", "\\n", "b", "a"]
    assert tokenizer.unknown_tokens("钟") == []


def test_merges_stay_inside_a_han_character():
    tokenizer = train("subword", "时钟" * 50, vocab_size=300)
    assert show(tokenizer, "时钟时") == ["时", "钟", "时"]
    assert tokenizer.vocab_size == 262  # 256 bytes, 2 special tokens, 2 merges a character


def test_a_han_zero_belongs_to_the_number_or_the_space_before_it():
    text = "A組 〇\nB組 〇\n定員1〇名\n"
    tokenizer = train("subword", text * 30)
    assert show(tokenizer, text) == [
        *("A", "組", " 〇", "\\n", "B", "組", " 〇", "\\n", "定", "員", "1〇", "名", "\\n"),
    ]
    assert tokenizer.encode(text).tolist() == open_twin(tokenizer).encode(text).ids


@given(text=st.text(HAN_OF_ALL_KINDS + BESIDE_HAN, max_size=30))
def test_pieces_of_the_subword_level_end_where_tokens_end(text):
    split = build_pipeline(SETTINGS["subword"], Vocabulary(())).pre_tokenizer.pre_tokenize_str
    ends = {end for _, (_, end) in split(text)}
    pieces = encode.SUBWORD_PIECE.findall(text)
    assert "".join(pieces) == text
    assert ends >= set(accumulate(map(len, pieces)))


@pytest.mark.parametrize("level", ["unicode", "subword"])
@given(text=st.text(HAN_OF_ALL_KINDS + BESIDE_HAN, max_size=30))
def test_han_characters_of_all_kinds_have_the_ids_that_the_library_gives(level, text):
    assert MET[level].encode(text).tolist() == MET_TWINS[level].encode(text).ids


def test_merges_never_spell_a_special_token():
    tokenizer = train("subword", "<unk> <eos>\n" * 100, vocab_size=400)
    ids = tokenizer.encode("<unk><eos>").tolist()
    assert not {0, 1} & set(ids)
    assert tokenizer.decode(ids) == "<unk><eos>"


@pytest.mark.parametrize("level", ["char", "byte", "subword"])
def test_a_text_that_spells_special_tokens_is_ordinary_text(level):
    ids = TRAINED[level].encode("<eos><unk>").tolist()
    assert len(ids) > 2
    assert not {0, 1} & set(ids)


def test_special_tokens_without_text():
    assert TRAINED["byte"].decode([99, 0, 1, 100]) == "a\ufffdb"
    assert train("word", "a b").decode([2, 0, 1, 3]) == "a <unk>\nb"
    assert train("unicode", "a b").decode([2, 0, 1, 3]) == "a <unk>b"


def test_lower_case():
    tokenizer = train("word", "The END the end", lowercase=True)
    assert tokenizer.encode("THE End").tolist() == [3, 2]
    assert tokenizer.unknown_tokens("NEW") == ["new"]


def test_a_capital_sigma_is_lowered_without_its_neighbours():
    tokenizer = train("char", "ΑΣ", lowercase=True)  # "ΑΣ".lower() would be "ας"
    assert tokenizer.decode(tokenizer.encode("ΑΣ ")) == "ασ\ufffd"


def test_half_a_character_waits_for_the_rest():
    tokenizer = TRAINED["byte"]
    stream = tokenizer.stream()
    assert [stream.push(int(id)) for id in tokenizer.encode("a钟😀")] == [
        "a", "", "", "钟", "", "", "", "😀",
    ]  # fmt: skip
    assert stream.push(235) == ""
    assert stream.finish() == "\ufffd"


@LEVELS
def test_an_empty_text_has_no_tokens(level):
    tokenizer = TRAINED[level]
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize(
    ("characters", "dtype"), [(253, np.uint8), (254, np.uint8), (255, np.uint16)]
)
def test_ids_have_the_narrowest_type(characters, dtype):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + characters)))
    tokenizer = train("char", text, vocab_size=1000)
    assert tokenizer.encode(text).dtype == tokenizer.dtype == dtype
    assert tokenizer.encode(text).tolist() == [*range(2, characters + 2)]


def test_ids_of_a_large_vocabulary_take_four_bytes():
    words = " ".join(map(str, range(65_535)))
    tokenizer = train("word", words, vocab_size=100_000)
    assert tokenizer.dtype == np.uint32
    assert tokenizer.encode(words).max() == 65_536


@pytest.mark.parametrize("level", ["byte", "subword"])
def test_a_vocabulary_without_room_for_all_bytes_is_refused(level):
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size: received 257, .* needs 258"):
        train(level, vocab_size=257)


@LEVELS
def test_half_of_a_surrogate_pair_is_refused(level):
    with pytest.raises(DataError, match=r"U\+D83D at character 1 is half of a character"):
        TRAINED[level].encode("a\ud83d")
    with pytest.raises(DataError, match=r"U\+D83D at character 1 is half of a character"):
        TRAINED[level].unknown_tokens("a\ud83d")


def test_training_reads_its_chunks_once():
    def read() -> Iterable[str]:
        yield "ab\n"
        yield "b"

    tokenizer = Tokenizer.train(SETTINGS["char"], read())
    assert [tokenizer.token(id) for id in range(2, 5)] == ["b", "\\n", "a"]


@pytest.mark.parametrize("level", ["unicode", "subword"])
def test_a_table_of_pieces_that_is_full_starts_over(level, monkeypatch):
    monkeypatch.setattr(encode, "PIECES_KEPT", 8)
    monkeypatch.setattr(encode, "PIECE_CHARACTERS_KEPT", 3)
    tokenizer = train(level)
    for text in (TRICKY, "a b c d e", TRICKY):
        assert tokenizer.encode(text).tolist() == TWINS[level].encode(text).ids


@pytest.mark.parametrize("level", ["unicode", "subword"])
def test_threads_share_a_table_of_pieces(level, monkeypatch):
    monkeypatch.setattr(encode, "PIECES_KEPT", 8)
    tokenizer = train(level)
    lines = [f"{line}\n" for line in TRICKY.split("\n")] * 50
    with ThreadPoolExecutor(4) as pool:
        found = [ids.tolist() for ids in pool.map(tokenizer.encode, lines)]
    assert found == [TWINS[level].encode(line).ids for line in lines]
