"""Makes the sample datasets that `rafiki init` copies into a project: small parts of public datasets.

    python templates/make_samples.py --penguins penguins.csv

penguins.csv is that of the R package palmerpenguins (also in the Python package of that name). The other data lies in
examples/data, and the digits come with scikit-learn. The same input gives the same bytes.
"""

import argparse
import base64
import csv
import importlib
import io
import json
import random
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent / "samples"
ROOT = HERE.parents[1]
DATA = ROOT / "examples" / "data"
SEED = 0
sys.path.insert(0, str(ROOT / "examples" / "datasets"))


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            # ZipInfo's fixed date, instead of now, keeps the bytes the same from run to run.
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, compresslevel=9)


def write_query(name, query):
    (HERE / f"{name}_query.json").write_text(json.dumps(query, ensure_ascii=False) + "\n", encoding="utf-8")


def table_text(rows, delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()


def make_digits(n_train, n_val):
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = random.Random(SEED).sample(range(len(digits.images)), n_train + n_val + 1)
    for part, chosen in (("train", order[:n_train]), ("val", order[n_train:-1])):
        members, rows = {}, [["path", "class"]]
        for i, which in enumerate(chosen):
            png = io.BytesIO()
            # The originals count from 0 to 16.
            Image.fromarray((digits.images[which] * 255 / 16).round().astype("uint8")).save(png, format="PNG")
            members[f"{i:04}.png"] = png.getvalue()
            rows.append([f"{i:04}.png", int(digits.target[which])])
        write_zip(HERE / f"digits_{part}.zip", {**members, "images.csv": table_text(rows)})
    write_query("digits", (digits.images[order[-1]] * 255 / 16).round().astype(int).tolist())


def make_table(name, header, rows, n_val, target):
    random.Random(SEED).shuffle(rows)
    asked = rows.pop()
    for part, some in (("train", rows[n_val:]), ("val", rows[:n_val])):
        (HERE / f"{name}_{part}.csv").write_text(table_text([header, *some]), encoding="utf-8")
    number = {key: value for key, value in zip(header, asked, strict=True) if key != target}
    write_query(name, {key: as_number(value) for key, value in number.items()})


def as_number(text):
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text or None


def make_penguins(file):
    wanted = ["island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "species"]
    with file.open(encoding="utf-8", newline="") as source:
        # R writes NA for what is missing; an empty cell is missing here.
        rows = [["" if row[c] == "NA" else row[c] for c in wanted] for row in csv.DictReader(source)]
    make_table("penguins", wanted, rows, 90, "species")


def make_concrete():
    with (DATA / "concrete.csv").open(encoding="utf-8", newline="") as source:
        header, *rows = csv.reader(source)
    make_table("concrete", header, rows, 250, "compressive_strength")


def make_sentences(n_train, n_val):
    tags = {}

    def read(name, count):
        blocks = (DATA / name).read_text(encoding="utf-8").strip().split("\n\n")
        sentences = [[line.split("\t") for line in block.split("\n")] for block in blocks]
        # Not the shortest, which are headings, and not the longest, which take most of the time.
        return random.Random(SEED).sample([s for s in sentences if 4 <= len(s) <= 25], count)

    for part, name, count in (("train", "ud_ewt_train_4000.tsv", n_train), ("val", "ud_ewt_dev.tsv", n_val)):
        rows = [["token", "tag"]]
        for sentence in read(name, count):
            rows += [[token, tags.setdefault(tag, len(tags))] for token, tag in sentence]
            rows.append(["\\n", 0])
        text = table_text(rows, delimiter="\t")
        names = table_text([["tag", "name"], *([no, tag] for tag, no in tags.items())])
        write_zip(HERE / f"sentences_{part}.zip", {"corpus.tsv": text, "tags.csv": names})
    write_query("sentences", ["The", "museum", "opens", "at", "nine", "."])


def make_spoken_digits(n_train, n_val):
    to_wav, wav_folder = (getattr(importlib.import_module(m), n) for m, n in
                          (("_audio", "to_wav"), ("wav_folder", "said_by_name")))  # fmt: skip
    with zipfile.ZipFile(DATA / "fsdd_4_speakers.zip") as source:
        names = sorted(n for n in source.namelist() if n.endswith(".wav") and "_nicolas_" in n)
        # The shortest words of the one who speaks fastest: small files.
        by_word = {digit: [n for n in names if Path(n).name.startswith(digit)] for digit in "1234"}
        recordings = {n: to_wav(source.read(n), n) for n in names}
    for part, first, count in (("train", 0, n_train), ("val", n_train, n_val)):
        members, rows = {}, [["wav_filename", "wav_filesize", "transcript"]]
        for names in by_word.values():
            for name in names[first : first + count]:
                wav = recordings[name]
                members[Path(name).name] = wav
                rows.append([Path(name).name, len(wav), wav_folder(name)])
        write_zip(HERE / f"spoken_digits_{part}.zip", {**members, "audios.csv": table_text(rows)})
    write_query("spoken_digits", base64.b64encode(recordings[by_word["4"][-1]]).decode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--penguins", type=Path, required=True)
    make_penguins(parser.parse_args().penguins)
    make_digits(700, 250)
    make_concrete()
    make_sentences(800, 200)
    make_spoken_digits(36, 5)
