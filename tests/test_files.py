"""Files are whole or not there, and tables say what is wrong with them."""

import os
import types

import pandas as pd
import pytest

from glimpse.core.files import atomic_folder, atomic_write, read_table, source_hash, write_table


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write("half of the ne")
        raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["table.csv"]


def test_a_folder_is_new_or_stays_as_it_was_and_nothing_is_left_beside_it(tmp_path):
    folder, killed = tmp_path / "frames", tmp_path / ".frames.part"
    for left in (folder, killed):
        left.mkdir()
        (left / "old.tar").write_text("")
    with pytest.raises(ZeroDivisionError), atomic_folder(folder) as made:
        (made / "0.tar").write_text("")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["frames"] and os.listdir(folder) == ["old.tar"]
    killed.mkdir()
    (killed / "old.tar").write_text("")
    with atomic_folder(folder) as made:
        (made / "0.tar").write_text("")
        assert os.listdir(folder) == ["old.tar"]
    assert os.listdir(tmp_path) == ["frames"] and os.listdir(folder) == ["0.tar"]


def test_a_read_only_link_into_a_cache_is_replaced_and_never_written_into(tmp_path):
    cached, path = tmp_path / "cached", tmp_path / "out.csv"
    cached.write_text("cached")
    cached.chmod(0o444)
    path.symlink_to(cached)
    with atomic_write(path) as file:
        file.write("new")
    assert cached.read_text() == "cached" and path.read_text() == "new" and not path.is_symlink()


def test_a_place_that_cant_be_written_is_one_line_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="could not be written") as stop, atomic_write(tmp_path / "file/table.csv"):
        pass
    assert "\n" not in str(stop.value)


def test_a_table_keeps_its_words_as_they_are(tmp_path):
    table = pd.DataFrame({"clip": ["a,b", 'c"d', "日本"], "action": ["NA", "01", "null"]})
    write_table(tmp_path / "t.csv", table)
    assert b"\r" not in (tmp_path / "t.csv").read_bytes()
    assert read_table(tmp_path / "t.csv", ["clip", "action"]).to_dict("list") == table.to_dict("list")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"clip\nx\n", "has no column action"), (b"", "not a CSV table"), (b"clip,action\n\xff\xfe\n", "not a CSV table"),
     (b'clip,action\n"x,y\n', "not a CSV table"), (None, "run `dvc repro`")],
)  # fmt: skip
def test_a_table_that_is_wrong_is_one_line_that_names_it(tmp_path, content, words):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(SystemExit, match=words) as stop:
        read_table(tmp_path / "t.csv", ["clip", "action"])
    assert "t.csv" in str(stop.value) and "\n" not in str(stop.value)


CODE = '"""What the module is."""\n\n\ndef double(x):\n    """Twice x."""\n    return 2 * x\n'
SAME_CODE = [CODE + "# a comment\n", CODE.replace("Twice x.", "x, doubled."), CODE.replace("2 * x", "(2*x)"),
             CODE.replace('    """Twice x."""\n', "")]  # fmt: skip
OTHER_CODE = [CODE.replace("2", "3"), CODE.replace("double", "twice"), CODE + "double(1)\n"]


@pytest.mark.parametrize("code", SAME_CODE + OTHER_CODE)
def test_a_cache_key_changes_with_the_code_but_not_with_comments_docstrings_or_format(tmp_path, code):
    paths = [tmp_path / "one.py", tmp_path / "other.py"]
    hashes = []
    for path, text in zip(paths, (CODE, code)):
        path.write_text(text)
        module = types.ModuleType(path.stem)
        module.__file__ = str(path)
        hashes.append(source_hash(module))
    assert (hashes[0] == hashes[1]) == (code in SAME_CODE)
