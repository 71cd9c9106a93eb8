"""Datasets: their fields, their URLs, and what is no file of their task."""

from __future__ import annotations

import zipfile
from typing import Any

from support.data.image_zip import image_zip, png
from support.data.task_files import wav
from wrong_inputs.files import (
    absent_pixels,
    audio_zip,
    corpus_zip,
    damaged,
    encrypted,
    far_away,
    with_link,
    zip_of,
)
from wrong_inputs.models import NAMES
from wrong_inputs.table import Request, Row, get, post, row, without
from wrong_inputs.world import CLASSES, CUSTOM, IMAGES, NUMBERS, SPEECH, TAGS

INVALID, INVALID_DATASET = "InvalidRequestError", "InvalidDatasetError"


def dataset(task: str = CUSTOM, data: bytes = b"x", **fields: Any) -> Request:
    form = without({"name": "d", "task": task, **fields})
    return post("/datasets", data=form, files={"dataset": ("d.bin", data)})


def fetched(url: str, **fields: Any) -> Request:
    return post("/datasets", data={"name": "d", "task": CUSTOM, "dataset_url": url, **fields})


GOOD = image_zip()
A = len(wav())
TWO = "path,class\na.png,0\nb.png,"
WRONG_IMAGES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "an empty file": (b"", ("empty",)),
    "no zip": (b"this is no zip" * 99, ("no zip file",)),
    "a zip that is cut off": (GOOD[: len(GOOD) // 2], ("no zip file",)),
    "a zip with damaged bytes": (damaged(GOOD, 45, 10), ("'a.png'", "damaged")),
    "a damaged zip of LZMA": (damaged(zip_of({"images.csv": TWO + "1\n" * 50}, zipfile.ZIP_LZMA), 50, 10),
        ("'images.csv'", "damaged")),
    "a damaged zip of bzip2": (damaged(zip_of({"images.csv": TWO + "1\n" * 50}, zipfile.ZIP_BZIP2), 60, 10),
        ("'images.csv'", "damaged")),
    "a zip that points beyond its end": (far_away(GOOD), ("damaged",)),
    "a zip with a password": (encrypted(GOOD), ("encrypted", "password")),
    "a tar": (b"images.csv" + bytes(502) + b"ustar", ("no zip file",)),
    "a zip without images.csv": (image_zip(csv=None), ("no file 'images.csv'",)),
    "images.csv in a folder": (zip_of({"data/images.csv": TWO + "1\n"}), ("no file 'images.csv'",)),
    "images.csv empty": (image_zip(csv=""), ("images.csv, row 1", "path,class")),
    "images.csv without rows": (image_zip(csv="path,class\n"), ("images.csv lists no images",)),
    "images.csv with other columns": (image_zip(csv="file,label\na.png,0\n"), ("row 1", "path,class", "'file,label'")),
    "images.csv without a header": (image_zip(csv="a.png,0\nb.png,1\n"), ("row 1", "path,class", "'a.png,0'")),
    "images.csv with tabs": (image_zip(csv="path\tclass\na.png\t0\n"), ("row 1", "path,class")),
    "images.csv with a column twice": (image_zip(csv="path,class,path\na.png,0,b.png\n"), ("row 1", "path,class,path")),
    "images.csv in no text": (image_zip(csv=b"path,class\na.png,\xff\xfe\n"), ("images.csv, line 2", "no UTF-8 text")),
    "images.csv in UTF-16": (image_zip(csv=TWO.encode("utf-16")), ("images.csv, line 1", "no UTF-8 text")),
    "images.csv with NUL": (image_zip(csv=TWO + "1\0\n"), ("images.csv, line 3", "zero byte")),
    "images.csv with a quote left open": (image_zip(csv='path,class\n"a.png,0\nb.png,1\n'), ("row 2", "quotes")),
    "a row that is too long": (image_zip(csv=TWO + "1,cat\n"), ("images.csv, row 3", "3 values", "2 columns")),
    "a row that is too short": (image_zip(csv=TWO.rstrip(",") + "\n"), ("images.csv, row 3", "1 values", "2 columns")),
    "a row without a path": (image_zip(csv=TWO + "1\n,0\n"), ("images.csv, row 4", "path is empty")),
    "a class as text": (image_zip(csv=TWO + "cat\n"), ("images.csv, row 3", "'cat'", "integer")),
    "a class as fraction": (image_zip(csv=TWO + "0.5\n"), ("images.csv, row 3", "'0.5'", "integer")),
    "a class that only Python reads": (image_zip(csv=TWO + "0_1\n"), ("images.csv, row 3", "'0_1'", "integer")),
    "a class in Arabic digits": (image_zip(csv=TWO + "\u0661\n"), ("images.csv, row 3", "integer")),
    "a class of 5,000 digits": (image_zip(csv=TWO + "9" * 5000 + "\n"), ("images.csv, row 3", "999", "above")),
    "a class below 0": (image_zip(csv=TWO + "-1\n"), ("images.csv, row 3", "-1", "below 0")),
    "ids for classes": (image_zip(csv=TWO + "20191\n"), ("images.csv", "class 20191 occurs", "only 2 of the classes")),
    "an image missing": (image_zip(csv="path,class\na.png,0\nc.png,1\n"), ("images.csv, row 3", "'c.png'")),
    "an image outside": (image_zip(csv=TWO + "0\n../a.png,1\n"), ("images.csv, row 4", "'../a.png'")),
    "an image that is cut off": (image_zip(files={"b.png": png()[:-20]}), ("images.csv, row 3", "'b.png'",
        "png or jpg")),
    "an image without pixels": (image_zip(files={"b.png": absent_pixels(png())}), ("images.csv, row 3", "'b.png'")),
    "an image of no bytes": (image_zip(files={"b.png": b""}), ("images.csv, row 3", "'b.png'", "png or jpg")),
    "an image of another kind": (image_zip(files={"b.png": b"GIF89a" + b"\0" * 50}), ("row 3", "'b.png'",
        "png or jpg")),
    "an image that is a script": (image_zip(files={"b.png": b"#!/bin/sh\nreboot\n"}), ("row 3", "'b.png'",
        "png or jpg")),
    "a path out of the zip": (image_zip(files={"../../evil.png": png()}), ("unsafe path '../../evil.png'",)),
    "an absolute path": (image_zip(files={"/etc/evil.png": png()}), ("unsafe path '/etc/evil.png'",)),
    "a path of Windows": (image_zip(files={"C:\\evil.png": png()}), ("unsafe path",)),
    "a symbolic link": (with_link(GOOD), ("'link.png'", "symbolic link")),
    "a decompression bomb": (image_zip(files={"bomb.png": b"\0" * (80 << 20)}), ("times its size", "200")),
    "a corpus": (corpus_zip("token\ttag\na\t0\n"), ("no file 'images.csv'",)),
}  # fmt: skip
HEAD = "token\ttag\nthe\t0\n"
WRONG_TAGS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "no zip": (HEAD.encode(), ("no zip file",)),
    "a zip of images": (GOOD, ("no file 'corpus.tsv'",)),
    "corpus.tsv empty": (corpus_zip(""), ("corpus.tsv, row 1", "token, tag")),
    "corpus.tsv without a header": (corpus_zip("the\t0\ncat\t1\n"), ("corpus.tsv, row 1", "token, tag")),
    "corpus.tsv with commas": (corpus_zip("token,tag\nthe,0\n"), ("corpus.tsv, row 1", "token, tag")),
    "corpus.tsv with two tags": (corpus_zip("token\ttag\ttag\nthe\t0\t1\n"), ("row 1", "each once")),
    "corpus.tsv without tokens": (corpus_zip("token\ttag\n\\n\t0\n"), ("corpus.tsv", "no token")),
    "a tag as text": (corpus_zip(HEAD + "cat\tNOUN\n"), ("corpus.tsv, row 3, column 'tag'", "'NOUN'", "integer")),
    "a tag as fraction": (corpus_zip(HEAD + "cat\t1.0\n"), ("row 3, column 'tag'", "'1.0'")),
    "a tag missing": (corpus_zip(HEAD + "cat\t\n"), ("row 3, column 'tag'", "''")),
    "a tag below 0": (corpus_zip(HEAD + "cat\t-1\n"), ("row 3, column 'tag'", "-1", "65,535")),
    "a tag of 5,000 digits": (corpus_zip(HEAD + "cat\t" + "9" * 5000 + "\n"), ("row 3, column 'tag'", "65,535")),
    "a token missing": (corpus_zip(HEAD + "\t1\n"), ("corpus.tsv, row 3, column 'token'", "empty")),
    "an empty line for the end": (corpus_zip(HEAD + "\ncat\t1\n"), ("corpus.tsv, row 3 is empty", "\\n")),
    "a row that is too short": (corpus_zip(HEAD + "cat\n"), ("corpus.tsv, row 3", "1 values", "2 columns")),
    "a row that is too long": (corpus_zip(HEAD + "cat\t1\t2\n"), ("corpus.tsv, row 3", "3 values", "2 columns")),
    "a token over two lines": (corpus_zip(HEAD + '"c\nat"\t1\n'), ("corpus.tsv, row 3", "1 values")),
    "no text": (corpus_zip(HEAD.encode() + b"\xff\t0\n"), ("corpus.tsv, line 3", "no UTF-8 text")),
}  # fmt: skip
WRONG_TABLES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "an empty file": (b"", ("empty",)),
    "blank lines alone": (b"\n\n\n", ("row 1", "two columns")),
    "one column": (b"a\n1\n", ("row 1", "two columns")),
    "semicolons": (b"a;b\n1;2\n", ("row 1", "commas", "';'")),
    "a name twice": (b"a,b,a\n1,2,3\n", ("row 1", "'a' more than once")),
    "300,000 columns of two names": (b"a,b," * 150_000 + b"c\n", ("row 1", "'a', 'b' more than once")),
    "a column without a name": (b"a,,b\n1,2,3\n", ("row 1", "column 2 has no name")),
    "a header alone": (b"a,b\n", ("no row below the header",)),
    "a row that is too short": (b"a,b\n1,2\n1\n", ("csv file, row 3", "1 values", "2 columns")),
    "a row that is too long": (b"a,b\n1,2,3\n", ("csv file, row 2", "3 values", "2 columns")),
    "a quote left open": (b'a,b\n1,2\n"3,4\n', ("csv file, row 3", "quotes")),
    "no text": (b"a,b\n1,\xff\n", ("csv file, line 2", "no UTF-8 text")),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16-le"), ("csv file, line 1", "zero byte")),
    "all bytes": (bytes(range(256)) * 9, ("csv file, line 1",)),
    "a line of 5 MB": (b"a,b\n" + b"x" * 5_000_000, ("csv file, line 2", "4,194,304 bytes")),
    "a cell of 200 KB": (b"a,b\n" + b"x" * 200_000 + b",1\n", ("csv file, row 2",)),
    "a zip": (GOOD, ("csv file, line",)),
}  # fmt: skip
WRONG_TARGETS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a text among the targets": (b"a,b\n1,2\n1,3\n1,three\n", ("row 4, column 'b'", "'three' is not a number")),
    "an infinite target": (b"a,b\n1,inf\n1,2\n", ("row 2, column 'b'", "'inf' is not a number")),
    "a target that only Python reads": (b"a,b\n1,1_000\n1,2\n", ("row 2, column 'b'", "'1_000' is not a number")),
    "no column of numbers": (b"a,b\nx,y\n", ("row 2, column 'b'", "'y' is not a number")),
    "no target at all": (b"a,b\nx,\ny,NA\n", ("column 'b'", "whole column is empty")),
}  # fmt: skip
WRONG_SPEECH: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "no zip": (wav(), ("no zip file",)),
    "a zip of images": (GOOD, ("no file 'audios.csv'",)),
    "audios.csv with other columns": (audio_zip(header="wav,size,text\n"), ("audios.csv, row 1", "wav_filename")),
    "a recording missing": (audio_zip(f"c.wav,{A},two\n"), ("audios.csv, row 3, column 'wav_filename'", "'c.wav'")),
    "a recording outside": (audio_zip(f"../a.wav,{A},two\n"), ("row 3, column 'wav_filename'", "'../a.wav'")),
    "no size": (audio_zip("a.wav,-7,two\n"), ("audios.csv, row 3, column 'wav_filesize'", "'-7'", "number of bytes")),
    "a size as text": (audio_zip("a.wav,big,two\n"), ("row 3, column 'wav_filesize'", "'big'")),
    "capitals in a transcript": (audio_zip(f"a.wav,{A},Two\n"), ("row 3, column 'transcript'", "'T'")),
    "a digit in a transcript": (audio_zip(f"a.wav,{A},2 two\n"), ("row 3, column 'transcript'", "'2'")),
    "an accent in a transcript": (audio_zip(f"a.wav,{A},caf\u00e9\n"), ("row 3, column 'transcript'", "'\u00e9'")),
    "an empty transcript": (audio_zip(f"a.wav,{A}, \n"), ("row 3, column 'transcript'", "empty")),
    "a row that is too short": (audio_zip(f"a.wav,{A}\n"), ("audios.csv, row 3", "2 values", "3 columns")),
    "a comma in a transcript": (audio_zip(f"a.wav,{A},one,two\n"), ("audios.csv, row 3", "4 values", "3 columns")),
    **{
        what: (audio_zip(f"b.wav,{len(data)},two\n", data), ("audios.csv, row 3", "'b.wav'", says))
        for what, data, says in (
            ("an empty recording", b"", "PCM wav"), ("an mp3", b"ID3\0 an mp3", "PCM wav"),
            ("a recording of text", b"RIFF\4\0\0\0WAVE", "PCM wav"), ("a header that is cut off", wav()[:30],
                "PCM wav"),
            ("no sound", wav(0), "no sound"), ("8 kHz", wav(rate=8000), "8000 Hz"), ("stereo", wav(channels=2),
                "2 channel"),
            ("8 bits", wav(bits=8), "8 bits"), ("a recording that is cut off", wav()[:-100], "110 samples"),
            ("a recording of no channels", wav()[:22] + b"\0\0" + wav()[24:], "PCM wav"),
        )
    },
}  # fmt: skip
URLS: dict[str, tuple[str, str]] = {
    "file": ("file:///etc/passwd", "http:// or https://"), "ftp": ("ftp://x/y", "http:// or https://"),
    "no scheme": ("example.org/data.zip", "http:// or https://"), "no host": ("http:///x", "name a host"),
    "nothing": ("", "http:// or https://"), "a bracket left open": ("http://[::1", "cannot be read"),
    "no address in brackets": ("http://[::g]/x", "cannot be read"), "a port as text": ("http://x:y/", "cannot be read"),
    "a port beyond all": ("http://x:99999/", "Port"), "an empty part of a name": ("http://a..b/", "'a..b'"),
    "a name too long": ("http://" + "a" * 300 + "/", "cannot be found"), "letters of no URL": ("http://\u00e9.org/",
        "xn--"),
    "a space": ("http://exa mple.org/", "a space"), "a line break": ("http://x/\r\nHost: y", "no URL holds"),
    "NUL": ("http://\0/", "no URL holds"), "a name of nobody": ("http://no-such-host.invalid/", "cannot be found"),
    "this machine": ("http://127.0.0.1:1/x", "public address"), "this machine by name": ("http://localhost/",
        "public address"),
    "this machine as a number": ("http://2130706433/", "public address"), "IPv6": ("http://[::1]/", "public address"),
    "the cloud's metadata": ("http://169.254.169.254/latest", "public address"),
}  # fmt: skip


def contents(task: str, wrong: dict[str, tuple[bytes, tuple[str, ...]]]) -> list[Row]:
    return [
        row(f"datasets: {task} with {what}", "developer", dataset(task, data), 400, INVALID_DATASET, *says)
        for what, (data, says) in wrong.items()
    ]


ROWS: list[Row] = [
    row("datasets: without a name", "developer", dataset(name=...), 400, INVALID, "'name' is missing"),
    row("datasets: without a task", "developer", dataset(task=...), 400, INVALID, "'task' is missing"),
    row("datasets: unknown field", "developer", dataset(format="csv"), 400, INVALID, "'format'", "dataset_url"),
    *(
        row(f"datasets: {field} {what}", "developer", dataset(**{field: name}), 400, INVALID, f"'{field}'", "printable")
        for field in ("name", "task") for what, name in NAMES.items()
    ),
    row("datasets: neither file nor URL", "developer", post("/datasets", data={"name": "d", "task": CUSTOM}), 400,
        INVALID,
        "'dataset'", "'dataset_url'"),
    row("datasets: file and URL", "developer", dataset(dataset_url="http://x/"), 400, INVALID, "not both"),
    row("datasets: by nobody", "nobody", dataset(), 401, "UnauthorizedError", "No token"),
    row("datasets: by a banned user", "banned", dataset(), 401, "UnauthorizedError", "banned"),
    row("datasets: of a custom task with an empty file", "app developer", dataset(data=b""), 400, INVALID_DATASET,
        "empty"),
    row("datasets: of 9 MB", "developer", dataset(data=bytes(9 << 20)), 413, "RequestTooLargeError", "8,388,608"),
    row("datasets: of 12 MB", "developer", dataset(data=bytes(12 << 20)), 413, "RequestTooLargeError", "8,388,608",
        "admin.max_dataset_mb"),
    *(row(f"datasets: URL with {what}", "developer", fetched(url), 400, INVALID_DATASET, says)
      for what, (url, says) in URLS.items()),
    *(
        row(f"datasets: {what}", who, get(f"/datasets/{dataset_id}"), 404, INVALID_DATASET, shown)
        for what, who, dataset_id, shown in (
            ("unknown id", "developer", "<no id>", "<no id>"), ("malformed id", "developer", "x;y", "x;y"),
            ("another's", "developer", "<their dataset>", "<their dataset>"),
            ("another's for an app developer", "app developer", "<CUSTOM dataset>", "<CUSTOM dataset>"),
            ("id of a model", "developer", "<CUSTOM model>", "<CUSTOM model>"),
        )
    ),
    row("datasets: id with NUL", "developer", get("/datasets/%00"), 400, INVALID, "NUL"),
    row("datasets: list by name", "developer", get("/datasets", name="d"), 400, INVALID, "'name'", "task"),
    row("datasets: list of two tasks", "developer", get("/datasets?task=A&task=B"), 400, INVALID,
        "'task' is given twice"),
    *contents(IMAGES, WRONG_IMAGES), *contents(TAGS, WRONG_TAGS), *contents(CLASSES, WRONG_TABLES),
    *contents(NUMBERS, WRONG_TABLES | WRONG_TARGETS), *contents(SPEECH, WRONG_SPEECH),
]  # fmt: skip
