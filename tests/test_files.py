import errno
import os
import stat

import pytest

from fastgrad._files import made_folder, replacing


def test_a_file_is_written_whole(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path, "w") as file:
        file.write("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_a_failure_the_old_file_stands(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path, "w") as file:  # noqa: PT012
        file.write("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_names_the_file(tmp_path):
    named = pytest.raises(OSError, match=r"No space left on device: .*a\.txt")
    with named, replacing(tmp_path / "a.txt", "w"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_stays_empty_is_removed_with_its_parents(tmp_path):
    with made_folder(tmp_path / "a" / "b") as folder:
        assert folder.is_dir()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_used_or_was_there_stays(tmp_path):
    with made_folder(tmp_path / "a" / "b") as folder:
        (folder.parent / "c").touch()
    assert os.listdir(tmp_path / "a") == ["c"]
    refused = pytest.raises(OSError, match="c must be a folder that can be written to")
    with refused, made_folder(tmp_path / "a" / "c"):
        pass
    with pytest.raises(OSError, match=r"must be a folder .*null"), made_folder("a\0b"):
        pass
    (tmp_path / "a" / "c").unlink()
    with pytest.raises(KeyError), made_folder(tmp_path / "a"):
        raise KeyError
    assert os.listdir(tmp_path) == ["a"]
