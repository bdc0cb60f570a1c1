"""Prompts in ten languages and what may stand in them besides: to train a small vocabulary on, and to read with it.

Beside it lie `sentencepiece.model.xz`, which SentencePiece 0.2.3 made of `corpus()` (unigram, 900 pieces, nmt_nfkc,
byte fallback, pad 0, end 1, unknown 2, user-defined <extra_id_0> and film), and the ids that it then reads in
`strings(400, 3)`.
"""

from __future__ import annotations

import random

SENTENCES = {
    "english": "A red barn stands alone in the morning fog while the camera glides slowly past the old wooden fence. "
    "Rain falls on the neon street, reflections shimmer, a woman with an umbrella turns toward the light. "
    "The castle on the hill is lit by torches; snow covers every roof and tree below the quiet mountain.",
    "german": "Eine rote Scheune steht allein im Morgennebel, während die Kamera langsam am Holzzaun vorbeigleitet. "
    "Regen fällt auf die Straße, überall glänzen Lichter, größere Schatten wandern über das Gebäude. "
    "Die Burg auf dem Hügel wird von Fackeln beleuchtet; Schnee bedeckt alle Dächer und Bäume.",
    "french": "Une grange rouge se dresse seule dans la brume du matin tandis que la caméra glisse près de la clôture. "
    "La pluie tombe sur l’avenue déserte, des reflets brillent, une femme à la fenêtre rêve d’été. "
    "Le château sur la colline est éclairé par des torches ; la neige recouvre les toits où naît l’œuvre.",
    "spanish": "Un granero rojo está solo en la niebla de la mañana mientras la cámara pasa despacio junto a la valla. "
    "La lluvia cae sobre la calle, brillan los reflejos, ¿quién camina hacia la luz? ¡Una mujer con paraguas! "
    "El castillo en la colina está iluminado por antorchas; la nieve cubre cada tejado y árbol.",
    "russian": "Красный сарай стоит один в утреннем тумане, а камера медленно скользит мимо старого забора. "
    "Дождь падает на улицу, мерцают отражения, женщина с зонтом поворачивается к свету. "
    "Замок на холме освещён факелами; снег покрывает каждую крышу и каждое дерево.",
    "greek": "Ένας κόκκινος αχυρώνας στέκεται μόνος στην πρωινή ομίχλη ενώ η κάμερα περνά αργά δίπλα στον φράχτη. "
    "Η βροχή πέφτει στον δρόμο, τα φώτα λάμπουν, μια γυναίκα γυρίζει προς το φως. "
    "Το κάστρο στον λόφο φωτίζεται από πυρσούς· το χιόνι σκεπάζει κάθε στέγη.",
    "chinese": "清晨的薄雾中，一座红色的谷仓孤零零地立着，镜头缓缓掠过旧木栅栏。"
    "雨落在霓虹灯的街道上，倒影闪烁，一位撑伞的女人转向光亮。山上的城堡被火把照亮，雪覆盖了每一个屋顶和每一棵树。",
    "japanese": "朝霧の中に赤い納屋がぽつんと立ち、カメラは古い木の柵のそばをゆっくり通り過ぎる。"
    "ネオンの通りに雨が降り、傘をさした女性が光の方へ振り向く。丘の上の城は松明に照らされ、雪がすべての屋根を覆っている。",
    "korean": "아침 안개 속에 붉은 헛간이 홀로 서 있고 카메라는 오래된 나무 울타리를 천천히 지나간다. "
    "네온 거리에 비가 내리고 우산을 든 여자가 빛을 향해 돌아선다. 언덕 위의 성은 횃불로 밝혀지고 눈이 지붕을 덮는다.",
    "arabic": "تقف حظيرة حمراء وحيدة في ضباب الصباح بينما تنزلق الكاميرا ببطء بجانب السياج الخشبي القديم. "
    "يهطل المطر على الشارع وتلمع الأضواء، وتستدير امرأة تحمل مظلة نحو النور. "
    "القلعة على التل مضاءة بالمشاعل؛ والثلج يغطي كل سقف وكل شجرة.",
}
ODD = [
    "ﬁlm ﬂare", "Ｆｕｌｌ　ｗｉｄｔｈ", "½ × ²³", "①②③", "№ 5 ™ ℃", "ﾊﾝｶｸ ｶﾞ", "é è ñ", "e\u0301 a\u0308 o\u0302",
    "\u212b \u00c5 \u2126", "tab\there", "line\nbreak\r\nand another", "  many   spaces  ",
    "nb\u00a0space\u2003em\u200bzero", "\ufeffmark", "emoji 🎬📽️ 👩‍🎨 🏳️‍🌈", "👍🏽", "naïve café",
    "“curly” ‘quotes’ – dash — …", "a▁b ▁ c", "</s> <pad> <unk> <0x41>", "don't can't", "<extra_id_0> here",
    "1️⃣ 2️⃣", "हिन्दी", "ไทย กำ", "עִבְרִית", "x\u0338 ≠ ≄", "ｅ\u0301", "각 \u1100\u1161\u11a8", "\u0600\u0661",
    "C:\\path\\file", "50% & more; #tag @me", "{json: [1, 2]}", "ΑΒΓ\u0345", "ǆ ǅ ǉ", "㍿ ㌔ ㎏", "ﷺ",
    "\u2028sep\u2029", "𝓕𝓪𝓷𝓬𝔂 𝟙𝟚", "\x01\x07\x0b\x7f\x85", "𓀀 𒀀 ꙮ", "film &amp; ﬁlm",
]  # fmt: skip


def words(language: str) -> list[str]:
    """Of a language without spaces: its runs of a few characters."""
    text = SENTENCES[language]
    return text.split() if " " in text[:20] else [text[i : i + 3] for i in range(0, len(text), 3)]


def corpus(count: int = 3000, seed: int = 1) -> list[str]:
    """Sentences of shuffled words, one language a line."""
    rng = random.Random(seed)
    lines = list(SENTENCES.values())
    for _ in range(count):
        language = rng.choice(list(SENTENCES))
        between = "" if language in ("chinese", "japanese") else " "
        lines.append(between.join(rng.choices(words(language), k=rng.randint(3, 14))))
    return lines


def strings(count: int, seed: int = 2) -> list[str]:
    """Prompts to read: words of one or two languages, odd things in between, pieces cut anywhere."""
    rng = random.Random(seed)
    out = ["", " ", *ODD]
    while len(out) < count:
        languages = rng.sample(list(SENTENCES), rng.choice([1, 1, 2]))
        parts = [rng.choice(words(rng.choice(languages))) for _ in range(rng.randint(1, 20))]
        for _ in range(rng.choice([0, 0, 1, 2])):
            parts.insert(rng.randrange(len(parts) + 1), rng.choice(ODD))
        text = rng.choice([" ", " ", "", "  "]).join(parts)
        cut = rng.randrange(len(text)) if rng.random() < 0.3 else 0
        out.append(text[cut:])
    return out[:count]
