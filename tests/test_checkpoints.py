import doctest
import io
import json
import os
import pickle
import resource
import zipfile

import numpy as np
import pytest
from conftest import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgrad.training import (
    Checkpoint,
    Checkpoints,
    checkpoint_file,
    checkpoints,
    newest_first,
    read,
)
from fastgrad.training.checkpoint_file import write

PARAMS = {"W1": np.arange(6.0).reshape(2, 3), "b1": np.full(3, 0.1 + 0.2)}
HISTORY = {"loss": np.array([2.5, 1 / 3]), "evaluated": np.array([0, 1])}
BIG = {"bit_generator": "PCG64", "state": {"state": 2**127 + 1, "inc": 7}}


def make(iteration=2, **changes):
    parts = {"params": PARAMS, "history": HISTORY, "generator": BIG, "config": {"h": 1e-4}}
    return Checkpoint(**{**parts, "iteration": iteration, "seconds": 0.1, **changes})


def header(**changes):
    """Return the header of a good checkpoint, with changes."""
    good = {"fastgrad": checkpoint_file.__version__, "iteration": 2}
    return {**good, "seconds": 0.1, "generator": BIG, "config": {}, **changes}


def pack(path, head, *, method=zipfile.ZIP_STORED, **members):
    """Write an npz file of any members, given as their bytes or as arrays."""
    if isinstance(head, dict):
        head = {"arrays": sorted(members), **head}
    with zipfile.ZipFile(path, "w", method) as archive:
        text = np.frombuffer(json.dumps(head).encode(), np.uint8)
        for name, value in {"header": text, **members}.items():
            archive.writestr(f"{name}.npy", value if isinstance(value, bytes) else npy(value))
    return path


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_what_is_read_is_what_was_written(tmp_path):
    written = make()
    path = write(tmp_path, written)
    found = read(path)
    assert same_bits(found.params, PARAMS)
    assert same_bits(found.history, HISTORY)
    assert (found.generator, found.config) == (written.generator, written.config)
    assert (found.iteration, found.seconds, found.path) == (2, 0.1, path)
    assert all(name.dtype == PARAMS["W1"].dtype for name in found.params.values())


def test_numpy_alone_reads_it(tmp_path):
    with np.load(write(tmp_path, make()), allow_pickle=False) as arrays:
        assert arrays["params.W1"].tobytes() == PARAMS["W1"].tobytes()
        assert json.loads(arrays["header"].tobytes())["iteration"] == 2


def test_parameters_in_any_order_of_memory(tmp_path):
    params = {"W1": np.asfortranarray(PARAMS["W1"])}
    assert same_bits(read(write(tmp_path, make(params=params))).params, params)


def test_it_is_on_the_disk_before_its_name_is_and_its_name_before_the_end(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        true = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, name=name, true=true: (calls.append(name), true(*args))
        )
    write(tmp_path, make())
    assert calls == ["fsync", "replace", "fsync"]


def test_a_folder_stands_for_its_newest(tmp_path):
    for iteration in (5, 99_999_999, 100_000_000, 7):
        write(tmp_path, make(iteration))
    assert read(tmp_path).iteration == 100_000_000


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nor a folder with checkpoint-\*"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file that can be read"):
        read(tmp_path / "checkpoint-00000001.npz")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="no file that can be read"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("path", [None, 5, ["a"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(TypeError, match=type(path).__name__):
        read(path)


def test_of_a_damaged_one_the_one_before_it_is_offered_not_taken(tmp_path):
    old, new = write(tmp_path, make(1)), write(tmp_path, make(2))
    new.write_bytes(new.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"damaged.*the one before it, resume {old}"):
        read(tmp_path)
    assert read(old).iteration == 1
    old.write_bytes(b"")
    with pytest.raises(ValueError, match=r"00000002\.npz is no checkpoint") as caught:
        read(tmp_path)
    assert f"resume {old}" in str(caught.value)
    with pytest.raises(ValueError, match=r"00000001\.npz is no checkpoint") as caught:
        read(old)
    assert "resume" not in str(caught.value)


def test_cuts_and_flipped_bytes_are_noticed_or_harmless(tmp_path):
    path = write(tmp_path, make())
    good, whole = path.read_bytes(), read(path)
    rng = np.random.default_rng(0)
    for length in rng.choice(len(good), 100, replace=False):
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match="no checkpoint to go on with"):
            read(path)
    refused, places = 0, rng.choice(len(good), len(good) // 3, replace=False)
    for place in places:
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << place % 8)]) + good[place + 1 :])
        try:
            found = read(path)
        except ValueError:
            refused += 1
            continue
        # Dates and the like of the zip format say nothing about the run.
        assert same_bits(found.params, whole.params)
        assert same_bits(found.history, whole.history)
        assert found.generator == whole.generator
    assert refused > len(places) / 2


def test_an_array_that_calls_itself_shorter_is_noticed(tmp_path):
    path = write(tmp_path, make())
    whole = path.read_bytes()
    assert whole.count(b"'shape': (3,)") == 1
    path.write_bytes(whole.replace(b"'shape': (3,)", b"'shape': (2,)"))
    with pytest.raises(ValueError, match=r"check sum of params.b1.npy is wrong"):
        read(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arrays": ["params.W1"]}, r"must hold the arrays \['params.W1'\], got \[\]"),
        ({"fastgrad": "9.9"}, "it is of fastgrad '9.9'"),
        ({"iteration": 2.0}, "iteration must be of type int"),
        ({"iteration": True}, "iteration must be of type int"),
        ({"generator": []}, "generator must be of type dict"),
        ({"config": None}, "config must be of type dict"),
        ({"seconds": -1.0}, "seconds must be finite and from 0"),
        ({"seconds": float("nan")}, "seconds must be finite and from 0"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path, change, words):
    assert read(pack(tmp_path / "good.npz", header())).iteration == 2
    with pytest.raises(ValueError, match=words):
        read(pack(tmp_path / "a.npz", header(**change)))


def raw(shape, descr="<f8", data=b"12345678"):
    head = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (raw((10**12,)), "no checkpoint to go on with"),
        (raw((10**8,)), "EOF"),
        (raw((2,)), "EOF"),
        (raw((-1, -1)), "no checkpoint to go on with"),
        (raw((0, 10**30)), "no checkpoint to go on with"),
        (raw("(" * 5000), "no checkpoint to go on with"),
        (raw((1,), "|O"), "Object arrays cannot be loaded"),
        (raw((1,), "<U2"), "params.W1 must hold finite numbers"),
        (raw((1,), "<c8"), "params.W1 must hold finite numbers"),
        (raw((1,), "nonsense"), "no checkpoint to go on with"),
        (npy(np.array([np.nan])), "params.W1 must hold finite numbers"),
        (npy(np.array([[None]]), allow_pickle=True), "Object arrays cannot be loaded"),
        (b"\x93NUMPY\x02\x00" + bytes(4), "no checkpoint to go on with"),
        (b"", "no checkpoint to go on with"),
    ],
)
def test_a_hostile_array_is_refused(tmp_path, member, words):
    with pytest.raises(ValueError, match=words):
        read(pack(tmp_path / "a.npz", header(), **{"params.W1": member}))


def test_other_hostile_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    bomb = pack(path, header(), method=zipfile.ZIP_DEFLATED, **{"params.W1": np.zeros(10**7)})
    with pytest.raises(ValueError, match="its parts are compressed"):
        read(bomb)
    with pytest.raises(ValueError, match="no checkpoint to go on with"):
        read(pack(path, header(), **{"stranger.W1": np.zeros(3)}))
    with pytest.raises(ValueError, match="damaged, RecursionError"):
        read(pack(path, 0, header=npy(np.frombuffer(b"[" * 100_000, np.uint8))))
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(ValueError, match="no checkpoint to go on with"):
        read(path)


def test_a_claim_fills_no_memory(tmp_path):
    path = pack(tmp_path / "a.npz", header(), **{"params.W1": raw((10**8,))})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="EOF"):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB, of 781,250


@settings(max_examples=100)
@given(st.data())
def test_no_bytes_raise_anything_but_value_errors(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    good = bytearray(write(path.parent, make()).read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        start = data.draw(st.integers(0, len(good)))
        length = data.draw(st.integers(0, 40))
        good[start : start + length] = data.draw(st.binary(max_size=40))
    path.write_bytes(bytes(good))
    try:
        found = read(path)
    except ValueError:
        return
    assert isinstance(found.iteration, int)
    assert all(np.isfinite(array).all() for array in found.params.values())


def test_when_one_is_due(monkeypatch, tmp_path):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    steps = Checkpoints(tmp_path, every=3)
    assert [step for step in range(1, 10) if steps.due(step)] == [3, 6, 9]
    times = Checkpoints(tmp_path, minutes=0.5)
    with times.opened(None):
        now += 29
    assert not times.due(1)
    now += 1
    assert times.due(2)
    times.save(make(2))
    assert not times.due(3)
    assert not Checkpoints(tmp_path).due(1)


def names(folder):
    return [path.name[-6:-4] for path in newest_first(folder)]


def test_the_last_two_are_kept_and_nothing_else(tmp_path):
    (tmp_path / ".checkpoint-00000001.npz.half").write_bytes(b"left by a killed process")
    (tmp_path / "notes.txt").write_text("mine")
    saves = Checkpoints(tmp_path)
    with saves.opened(None):
        for iteration in (1, 2, 3):
            saves.save(make(iteration))
    assert names(tmp_path) == ["03", "02"]
    assert len(os.listdir(tmp_path)) == 3
    # Going on from the older one gives the future of the newer up, once there is another.
    again = Checkpoints(os.path.relpath(tmp_path))
    with again.opened(read(newest_first(tmp_path)[1])):
        again.save(make(4))
    assert names(tmp_path) == ["04", "02"]
    assert "notes.txt" in os.listdir(tmp_path)


def test_another_run_s_folder_is_refused(tmp_path):
    write(tmp_path / ".", make(1))
    refused = pytest.raises(ValueError, match=r"holds checkpoint-00000001\.npz of an earlier run")
    with refused, Checkpoints(tmp_path).opened(None):
        pass
    other = tmp_path / "other"
    other.mkdir()
    write(other, make(3))
    with refused, Checkpoints(tmp_path).opened(read(other)):
        pass
    assert names(tmp_path) == ["01"]


def test_a_full_disk_is_a_warning_and_the_last_one_stays(tmp_path, monkeypatch):
    saves = Checkpoints(tmp_path)
    saves.save(make(1))

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    words = "after 2 iterations: .*No space left.*training goes on, the last one is .*00000001.npz"
    with pytest.warns(RuntimeWarning, match=words):
        saves.save(make(2))
    assert len(os.listdir(tmp_path)) == 1
    assert read(tmp_path).iteration == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "every must be a whole number from 1, got 0"),
        ({"every": 2.0}, "every must be a whole number"),
        ({"every": True}, "every must be a whole number"),
        ({"minutes": 0}, "minutes must be a finite number above 0"),
        ({"minutes": "5"}, "minutes must be a finite number above 0, got '5'"),
        ({"folder": None}, "NoneType"),
        ({"folder": b"out"}, "bytes"),
        ({"every": [1]}, r"every must be a whole number from 1, got \[1\]"),
        ({"minutes": float("inf")}, "minutes must be a finite number above 0, got inf"),
        ({"about": [1]}, "about must be a dict of JSON's types"),
        ({"about": {"rate": float("nan")}}, "about must be a dict of JSON's types"),
        ({"minutes": float("nan")}, "minutes must be a finite number above 0"),
    ],
)
def test_bad_options(options, words, tmp_path):
    with pytest.raises((TypeError, ValueError), match=words):
        Checkpoints(**{"folder": tmp_path, **options})


def test_what_else_makes_the_run_must_be_json(tmp_path):
    assert Checkpoints(tmp_path, about={"sizes": (1, 2)}).about == {"sizes": [1, 2]}
    with pytest.raises(TypeError, match="JSON"):
        Checkpoints(tmp_path, about={"path": tmp_path})


def test_the_doctests_hold():
    failed, attempted = doctest.testmod(checkpoints)
    assert attempted
    assert not failed


def test_a_file_of_something_else_is_not_called_damaged(tmp_path):
    path = tmp_path / "params.npz"
    np.savez(path, W1=np.zeros(3), b1=np.zeros(3))
    with pytest.raises(ValueError, match=r"it has no header.*got \['W1', 'b1'\]") as error:
        read(path)
    assert "damaged" not in str(error.value)
