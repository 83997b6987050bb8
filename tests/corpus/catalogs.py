"""Catalogs of text as spreadsheets, databases, pandas and merchants write them. `catalog_files` says what is good."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pyarrow as pa

from tests.corpus.catalog_files import HEADER, csv, good, jsonl, kind_of, parquet, plain
from tests.corpus.kind import USED

OPEN = {
    "inch mark before the photo": csv('bad-2,"27 in. monitor,bad-2.jpg\n', good(3)),
    "no quote follows": csv('bad-2,"6 in. mug,bad-2.jpg\n'),
    "closed in a later row, followed by text": csv('bad-2,"27 in. tv,bad-2.jpg\n', good(3), good(4, '"y"')),
    "closed by another row's inch mark": csv('bad-2,"27 in. tv,bad-2.jpg\n', good(3), good(4, '27"')),
    "closed by the next row's inch mark": csv('bad-2,"27 in. tv,bad-2.jpg\n', good(4, '27"')),
    "two in a file": csv('bad-2,"a,bad-2.jpg\n', good(3), 'bad-4,"b,bad-4.jpg\n', good(5)),
    "in each row but the good ones": csv(*(f'bad-{n}2,"a,bad-{n}2.jpg\n' for n in range(40))),
    "in the last cell": plain(
        'subject_id,image,title\ngood-1,good-1.jpg,x\nbad-2,bad-2.jpg,"6 in. mug\ngood-3,good-3.jpg,x\n'
    ),
    "in the last cell, closed two rows below": plain(
        'subject_id,image,title\nbad-2,bad-2.jpg,"6 in. mug\ngood-3,good-3.jpg,x\ngood-4,good-4.jpg,6"\n'
    ),
    "in the last row": csv("good-2,x,good-2.jpg\n", ending='\nbad-7,"x,bad-7.jpg'),
    "with Windows line ends": plain(
        (HEADER + good(1) + 'bad-2,"6 in. mug,bad-2.jpg\n' + good(3)).replace("\n", "\r\n")
    ),
    "with the line ends of an old Mac": plain(
        (HEADER + good(1) + 'bad-2,"6 in. mug,bad-2.jpg\n' + good(3)).replace("\n", "\r")
    ),
    "with semicolons": plain((HEADER + good(1) + 'bad-2,"6 in. mug,bad-2.jpg\n' + good(3)).replace(",", ";")),
    "doubled at its end": csv('bad-2,"6 in"" mug,bad-2.jpg\n', good(3, '"6"" mug"')),
    "before 3,000 rows": csv('bad-2,"6 in. mug,bad-2.jpg\n', *(good(n) for n in range(100, 3100))),
    "a megabyte before its end": csv('bad-2,"6 in.\n', "".join(good(n, "y" * 60_000) for n in range(20, 40))),
}
FOLLOWED = {
    "by text": csv('bad-2,"6" mug",bad-2.jpg\n'),
    "by a backslash's quote": csv('bad-2,"a 6\\" mug",bad-2.jpg\n'),
    "by a quote after a space": csv('bad-2,"a" "b",bad-2.jpg\n'),
    "by a letter at the end of the row": csv('bad-2,x,"bad-2.jpg"x\n'),
    "by another separator": csv('bad-2,"a";x,bad-2.jpg\n'),
}
QUOTES = {
    "an inch mark in a bare cell": csv(good(2, '27" monitor')),
    "quotes in the middle of bare cells": csv(good(2, 'the "best" mug'), good(3, 'x"')),
    "doubled quotes": csv(good(2, '"the ""best"" mug"')),
    "line breaks in quotes": csv(good(2, '"two\nlines"'), good(3, '"three\n\nlines, and more"')),
    "Windows line breaks in quotes": plain(
        (HEADER + good(2, '"two\nlines"') + good(3)).replace("\n", "\r\n")
    ),
    "an empty quoted cell": csv(good(2, '""'), good(3, '""""')),
    "spaces after a closing quote": csv(good(2, '"a, b"  ')),
    "line breaks in the first column": plain(
        'title,subject_id,image\n"two\nlines",good-1,good-1.jpg\n"a, b\nc",good-2,good-2.jpg\n'
    ),
    "commas and line breaks before the photo": csv(good(2, '"Nice, warm\nsoft, blue, red\nand more"')),
    "a description in the last column": plain(
        'subject_id,image,title\ngood-1,good-1.jpg,"Nice, warm\nsoft, blue, red"\ngood-2,good-2.jpg,"a\nb\nc, d"\n'
    ),
    "a quoted cell at the end without a line end": csv(ending='\ngood-3,x,"good-3.jpg"'),
}
ROWS = {
    "commas only": csv(",,\n,,\n , ,\n"),
    "empty lines": csv("\n\n\n"),
    "blank lines before the header": csv(header="\n\n" + HEADER),
    "spaces only": csv("   \n\t\n"),
    "trailing commas everywhere": plain("subject_id,image,,\ngood-1,good-1.jpg,,\n"),
    "no line end": csv(ending=""),
    "an index column without a name": plain(",subject_id,image\n0,good-0,good-0.jpg\n1,good-1,good-1.jpg\n"),
    "spaces around names": plain("subject_id , image\ngood-0,good-0.jpg\n"),
    "short rows": plain("subject_id,image,title,color\ngood-1,good-1.jpg\ngood-2,good-2.jpg,x\n"),
    "a header alone": plain("subject_id,image\n"),
    "an empty line of JSON": jsonl(b"", b"  ", b"{}"),
}
SEPARATORS = {
    "semicolons": plain("subject_id;title;image\ngood-1;a, b;good-1.jpg\n"),
    "tabs in a .csv": plain("subject_id\ttitle\timage\ngood-1\ta, b\tgood-1.jpg\n"),
    "pipes": plain("subject_id|title|image\ngood-1|a, b|good-1.jpg\n"),
    "Excel's sep line": plain("sep=;\nsubject_id;image\ngood-1;good-1.jpg\n"),
    "commas in a .tsv": plain("subject_id,image\ngood-1,good-1.jpg\n", "c.tsv"),
    "a semicolon with a comma in a name": plain("subject_id;price, EUR;image\ngood-1;1,5;good-1.jpg\n"),
    "quoted names": plain('"subject_id";"image"\n"good-1";"good-1.jpg"\n'),
}
ENCODED = {
    "UTF-8 with its mark": plain(b"\xef\xbb\xbf" + (HEADER + good(1, "Été 水")).encode()),
    "UTF-16 of Excel's Unicode text": plain((HEADER + good(1, "Été 水")).replace(",", "\t").encode("utf-16")),
    "UTF-16 big-endian": plain(b"\xfe\xff" + (HEADER + good(1, "Été")).encode("utf-16-be")),
    "UTF-32": plain((HEADER + good(1, "Été")).encode("utf-32")),
    "compressed": plain(gzip.compress((HEADER + good(1)).encode()), "c.csv.gz"),
    "compressed in two members": plain(
        gzip.compress(HEADER.encode()) + gzip.compress(good(1).encode()), "c.csv.gz"
    ),
    "compressed tabs": plain(gzip.compress((HEADER + good(1)).replace(",", "\t").encode()), "C.TSV.GZ"),
    "compressed JSON lines": plain(
        gzip.compress(b'{"subject_id": "good-1", "image": "good-1.jpg"}\n'), "c.jsonl.gz"
    ),
    "JSON lines with a mark": plain(
        b'\xef\xbb\xbf{"subject_id": "good-1", "image": "good-1.jpg"}\n', "c.ndjson"
    ),
}
WRONG_ENCODING = {
    "Latin-1": plain((HEADER + good(1, "Été")).encode("latin-1")),
    "Windows-1252": plain((HEADER + "".join(good(n, "a “mug”") for n in range(9))).encode("cp1252")),
    "Shift JIS": plain((HEADER + good(1, "日本語")).encode("shift-jis")),
    "UTF-16 without its mark": plain((HEADER + good(1)).encode("utf-16-le")),
    "UTF-16 cut in a character": plain((HEADER + good(1)).encode("utf-16")[:-1]),
    "UTF-16 with half a pair": plain((HEADER + good(1)).encode("utf-16") + b"\x00\xd8\x0a\x00"),
    "UTF-16 JSON lines": plain('{"subject_id": "a"}\n'.encode("utf-16"), "c.jsonl"),
    "random bytes": plain(random.Random(1).randbytes(3000)),
}
ONE_BAD_BYTE = {
    "a cut character among 30 rows": plain(
        (HEADER + "".join(good(n) for n in range(30))).encode() + b"bad-1,\xc3,bad-1.jpg\n"
    ),
    "a Latin-1 letter among 30 rows": plain(
        (HEADER + "".join(good(n) for n in range(30))).encode() + b"bad-1,\xe9t\xe9,bad-1.jpg\n"
    ),
    "a line of JSON": jsonl(b'{"subject_id": "bad", "image": "\xff.jpg"}'),
    "half a pair in JSON": jsonl(b'{"subject_id": "bad", "image": "b.jpg", "x": "\\ud800"}'),
    "an overlong slash": plain(
        (HEADER + "".join(good(n) for n in range(30))).encode() + b"bad-1,\xc0\xaf,bad-1.jpg\n"
    ),
}
LONG = {
    "140,000 characters": csv(f"bad-2,{'x' * 140_000},bad-2.jpg\n"),
    "140,000 characters in quotes": csv(f'bad-2,"{"x, " * 50_000}",bad-2.jpg\n'),
    "40,000 lines in quotes": csv(
        f'bad-2,"{"line" * 4 + chr(10)}{"line no. 1" + chr(10)}{"y" * 131_073}",bad-2.jpg\n'
    ),
    "2 MB without a line end": csv(f"bad-2,{'x' * 2_000_000},bad-2.jpg\n"),
    "2 MB of quotes": csv(f"bad-2,{chr(34) * 2_000_001},bad-2.jpg\n"),
    "a line of 5 MB of JSON": jsonl({"subject_id": "bad", "image": "b.jpg", "x": "y" * 5_000_000}),
    "a JSON value of 200,000 characters": jsonl({"subject_id": "bad", "image": "b.jpg", "x": "y" * 200_000}),
    "an image path of 200,000 characters": jsonl({"subject_id": "bad", "image": "y" * 200_000}),
    "2,000 prompts": jsonl({"subject_id": "bad", "image": "b.jpg", "prompts": ["a mug"] * 2_000}),
    "2,000 prompts in a cell": csv(
        "bad-2,x,b.jpg," + "|".join(["a"] * 2000) + "\n", header="subject_id,title,image,prompts\n"
    ),
    "a Parquet cell of 1 MB": parquet(
        lambda: pa.table(
            {
                "subject_id": ["good-1", "bad", "good-2"],
                "image": ["good-1.jpg", "b.jpg", "good-2.jpg"],
                "title": ["x", "y" * 1_000_000, "z"],
            }
        )
    ),
}
HEADERS = {
    "a column twice": plain("subject_id,image,image\na,front.png,back.png\n"),
    "a column twice, with spaces": plain("subject_id,image, image\na,front.png,back.png\n"),
    "a Parquet column twice": parquet(
        pa.Table.from_arrays(
            [pa.array(["a"]), pa.array(["a.png"]), pa.array(["b.png"])], ["subject_id", "image", "image"]
        )
    ),
    "2,000 columns": plain(
        ",".join(["subject_id", "image", *(f"c{n}" for n in range(2000))]) + "\na,a.png\n"
    ),
    "an open quote in the header": plain('subject_id,"image\na,a.png\nb,b.png\n'),
    "no photo column": plain("subject_id,photo\na,a.png\n"),
    "no header": plain("a,a.png\nb,b.png\n"),
    "semicolons, another name": plain("sku;image\na;a.png\n"),
    "a header of 2 MB": plain("x" * 2_000_000 + "\na\n"),
    "an array of JSON": plain('[\n {"subject_id": "a"}\n]\n', "c.jsonl"),
    "NUL bytes": plain(bytes(3000)),
}
JSON_LINES = {
    "a key twice": jsonl(b'{"subject_id": "bad", "image": "a.png", "image": "b.png"}'),
    "nested 100,000 deep": jsonl(b"[" * 100_000),
    "nested 100,000 deep in an object": jsonl(b'{"subject_id": "bad", "x": ' + b"[" * 100_000),
    "an object nested 900 deep": jsonl(b'{"x": ' * 990 + b"1" + b"}" * 990 + b"]"),
    "a number of 5,000 digits": jsonl(b'{"subject_id": "bad", "image": "a.png", "x": ' + b"9" * 5000 + b"}"),
    "two objects on a line": jsonl(b'{"subject_id": "a"} {"subject_id": "b"}'),
    "an array": jsonl(b'["bad", "b.png"]'),
    "a comma at its end": jsonl(b'{"subject_id": "bad", "image": "a.png"},'),
    "single quotes": jsonl(b"{'subject_id': 'bad'}"),
    "a number": jsonl(b"1e999"),
    "a text": jsonl(b'"bad"'),
    "cut": jsonl(b'{"subject_id": "bad", "im'),
}
NO_PHOTO = {
    "an empty cell": csv("bad,x,\n"),
    "NaN in JSON": jsonl(b'{"subject_id": "bad", "image": NaN}'),
    "null in JSON": jsonl(b'{"subject_id": "bad", "image": null}'),
    "a list in JSON": jsonl(b'{"subject_id": "bad", "image": []}'),
    "a photo's bytes": parquet(pa.table({"subject_id": ["bad"], "image": [b"\x89PNG\r\n\x1a\n" * 40]})),
    "a photo's bytes of Hugging Face": parquet(
        pa.table({"subject_id": ["bad"], "image": [{"bytes": b"\x89PNG" * 200_000, "path": None}]})
    ),
    "NaN in Parquet": parquet(pa.table({"subject_id": ["bad"], "image": pa.array([float("nan")])})),
}
BAD_IDS = {
    "OSC 52": jsonl({"subject_id": "bad\x1b]52;c;cm0gLXJmIC8=\x07", "image": "b.png"}),
    "a bell": csv("bad\x07,x,b.jpg\n"),
    "a tab": jsonl({"subject_id": "bad\tid", "image": "b.png"}),
    "C1 controls": jsonl({"subject_id": "bad\x9b31m", "image": "b.png"}),
    "300 characters": csv("b" * 300 + ",x,b.jpg\n"),
    "NaN": jsonl(b'{"subject_id": NaN, "image": "b.png"}'),
    "null": jsonl(b'{"subject_id": null, "image": "b.png"}'),
    "absent": jsonl(b'{"image": "b.png"}'),
    "spaces": csv("  ,x,b.jpg\n"),
    "NaN in Parquet": parquet(pa.table({"subject_id": pa.array([float("nan")]), "image": ["b.png"]})),
}
DAMAGED_GZIP = {
    "cut": plain(gzip.compress((HEADER + "".join(map(good, range(500)))).encode())[:-30], "c.csv.gz"),
    "no gzip": plain(HEADER + good(1), "c.csv.gz"),
    "a checksum that is wrong": plain(gzip.compress((HEADER + good(1)).encode())[:-8] + bytes(8), "c.csv.gz"),
    "a text named so": plain(b"hello", "c.jsonl.gz"),
    "bytes after its end": plain(gzip.compress((HEADER + good(1)).encode()) + b"more", "c.csv.gz"),
}


def _gzip_bomb(parent: Path) -> str:
    block = gzip.compress(bytes(50_000_000), 9)
    (parent / "c.csv.gz").write_bytes(block * 24)  # members that follow each other are one stream
    return "c.csv.gz"


DAMAGED_GZIP["1.2 GB of zeros"] = _gzip_bomb


KINDS = [
    kind_of("an open quote costs its row", "bad_row", OPEN),
    kind_of("a closing quote followed by text", "bad_row", FOLLOWED),
    kind_of("quotes that are right", USED, QUOTES),
    kind_of("blank rows and columns", USED, ROWS),
    kind_of("other separators", USED, SEPARATORS),
    kind_of("encodings that are read", USED, ENCODED),
    kind_of("encodings that are not", "bad_catalog", WRONG_ENCODING),
    kind_of("one row is not UTF-8", "bad_row", ONE_BAD_BYTE),
    kind_of("a long cell costs its row", "bad_row", LONG),
    kind_of("headers", "bad_catalog", HEADERS),
    kind_of("lines that are no JSON object", "bad_row", JSON_LINES),
    kind_of("no photo named", "no_image", NO_PHOTO),
    kind_of("unusable ids", "bad_subject_id", BAD_IDS),
    kind_of("damaged gzip", "bad_catalog", DAMAGED_GZIP),
]
