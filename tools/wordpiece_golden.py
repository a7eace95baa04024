#!/usr/bin/env python3
"""Texts and their token ids by Hugging Face `tokenizers`, for crates/skep-model/tests/wordpiece.rs.

    wordpiece_golden.py VOCAB OUTPUT

VOCAB is the vocab.txt of an uncased BERT. OUTPUT receives a first line with a vocabulary of a few thousand pieces, as a JSON
array: those of VOCAB that the texts below use, and all of one character; then a line for each text, as a JSON string, a tab
and its ids in that vocabulary. The texts are sentences in many scripts, hard cases, and strings of random characters, whose
categories have not changed since Unicode 3.2, so that no library's age decides.
"""

import json
import random
import sys
import unicodedata

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

SENTENCES = """
The quick brown fox jumps over the lazy dog.
Hello, World! This is Skep: one network out of idle computers.
It's 3:45 p.m. — don't be late, O'Brien; the café closes at five…
E-mail me at someone@example.org or visit https://example.org/a_b?c=d&e=f#g (soon).
MIXED Case, CamelCase, snake_case, kebab-case, SCREAMING_SNAKE and iPhone
Prices: $5.99, €1.000,50, £3, ¥200, ₹45 and 50¢; that is 100% (±2‰).
unbelievably antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis
for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; } // O(n)
[CLS] is not a control token here, nor is [SEP], [MASK], [PAD] or [UNK]; [unused7] neither.
##ing is not a continuation, and ▁the is not a word.
Crème brûlée, naïve façade, El Niño, Ångström, Škoda, Dvořák, Łódź, Çelik, Đorđe, Þór, Æsir, Œuvre
Straße, Größe, Übermut, ẞ and ß; ﬁne ﬂuﬀ; ĳ and Ĳ; Ǆ ǅ ǆ
Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy. Árvíztűrő tükörfúrógép.
İstanbul'da ışık; DİYARBAKIR ve Iğdır
Быстрая коричневая лиса прыгает через ленивую собаку. Ёлка, Й, ї, Ў.
Ο γρήγορος καφέ αλεπού πηδάει πάνω από τον τεμπέλη σκύλο. ΣΊΣΥΦΟΣ, ὀδυσσεύς, Ἀχιλλεύς
הלו עולם, שָׁלוֹם עֲלֵיכֶם
مرحبا بالعالم، السَّلَامُ عَلَيْكُمْ
नमस्ते दुनिया। यह एक परीक्षण है।
สวัสดีชาวโลก นี่คือการทดสอบ
你好，世界！这是一个测试。東京は日本の首都です。
ひらがなとカタカナ、そして漢字。ガギグゲゴ パピプペポ がぎぐげご
안녕하세요 세계. 한글은 자모로 나뉩니다.
한국어 ﾊﾝｶｸ ＦＵＬＬｗｉｄｔｈ １２３ ㍿ ㎏ ⑩ Ⅷ ½ x² H₂O
😀 😃👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ ☃ ★ ♞ ✓ → ⇒ ∀x∈ℝ: x² ≥ 0 ∎
a\u00a0b\u2003c\u3000d\u2028e\u200bf\u00adg\ufeffh\u0085i\u0000j\ufffdk\tl\rm
e\u0301 e\u0301\u0302\u0303 a\u0323\u0307 q\u0307\u0323 \u0301alone \u1112\u1161\u11ab \uac01 \u0958 \u2126 \u212b
(((nested) brackets) [and] {braces}) <tags/> "quotes" 'single' `ticks` «guillemets» „low“ ‹single›
-- --- – — ― ... … !!! ??? ?! ‽ ¡Hola! ¿Qué? · • § ¶ † ‡ © ® ™ ° ª º
1 12 123 1234 12345 3.14159 1e-9 0x7f 2026-11-21T10:18:04Z +49 (0)30 123456
""".strip().split("\n")

HARD = ["", " ", "\n\t ", "a", "A", ".", "中", "é", "\u0301", "a" * 100, "a" * 101, "ab" * 60, "x" * 99 + "y z", "é" * 100,
        "é" * 101, "中" * 150, "-" * 120, "the" * 40, " the  the ", "q\u200dq", "\u200d", "\ufffd", "\u0000"]

RANGES = [(0x20, 0x7e), (0xa0, 0x17f), (0x180, 0x24f), (0x300, 0x36f), (0x370, 0x3ff), (0x400, 0x4ff), (0x531, 0x587),
          (0x591, 0x5f4), (0x60c, 0x6fe), (0x901, 0x97f), (0xe01, 0xe5b), (0x10d0, 0x10f8), (0x1100, 0x11f9),
          (0x1e00, 0x1eff), (0x1f00, 0x1fff), (0x2000, 0x206f), (0x20a0, 0x22ff), (0x2460, 0x27be), (0x3000, 0x30ff),
          (0x3400, 0x3500), (0x4e00, 0x9fa5), (0xac00, 0xd7a3), (0xe000, 0xe010), (0xf900, 0xfa2d), (0xfb00, 0xfb4f),
          (0xfe30, 0xffee), (0x1d400, 0x1d7ff), (0x20000, 0x20100), (0x2f800, 0x2fa1d)]


def random_texts(count):
    draw = random.Random(12)
    old = unicodedata.ucd_3_2_0
    settled = lambda c: old.category(c) == unicodedata.category(c) != "Cn"
    ranges = [[c for c in map(chr, range(low, high + 1)) if settled(c)] for low, high in RANGES]
    ranges = [characters for characters in ranges if characters]
    for _ in range(count):
        chosen = draw.sample(ranges, draw.randint(1, 4)) + [list(" " * 12 + "abcdefghijklmnopqrstuvwxyz,.'-")]
        yield "".join(draw.choice(draw.choice(chosen)) for _ in range(draw.randint(1, 40)))


def hugging_face(vocabulary):
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def main():
    vocabulary, output = sys.argv[1:]
    with open(vocabulary, encoding="utf-8") as file:
        words = file.read().removesuffix("\n").split("\n")
    texts = SENTENCES + HARD + list(random_texts(250))
    whole = hugging_face({word: id for id, word in enumerate(words)})
    used = {id for text in texts for id in whole.encode(text).ids}
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    short = lambda word: len(word.removeprefix("##")) == 1
    kept = [word for id, word in enumerate(words) if id in used or word in special or short(word)]
    reduced = hugging_face({word: id for id, word in enumerate(kept)})
    with open(output, "w", encoding="utf-8") as file:
        file.write(json.dumps(kept) + "\n")
        for text in texts:
            ids = reduced.encode(text).ids
            file.write("\t".join([json.dumps(text), " ".join(map(str, ids))]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
