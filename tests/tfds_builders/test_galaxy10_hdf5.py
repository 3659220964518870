"""Files that are not what Galaxy10's are: one clear error, whatever is wrong."""
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("h5py", reason="Galaxy10's files need h5py: pip install 'galaxy_jax[galaxy10]'")

import h5py
from galaxy10_files import galaxy10, write

from tfds_builders.contents import Faults
from tfds_builders.errors import DataError
from tfds_builders.galaxy10.hdf5_file import DECALS, SDSS, Galaxy10File

SIDE = 69


def read(path, release=SDSS):
  """Everything in a file: classes, columns, pixels."""
  with Galaxy10File(path, release) as file:
    labels, columns = file.labels(Faults(skip_bad=True)), file.columns()
    return labels, columns, [file.pixels(block) for block in file.blocks(range(file.rows))]


def small(tmp_path, **change):
  """A good small file with some of its arrays replaced, or removed where None."""
  held = galaxy10([0, 1, 2, 3, 4, 5], side=SIDE) | change
  return write(tmp_path / "g.h5", {name: values for name, values in held.items() if values is not None})


def test_a_good_file(tmp_path):
  held = galaxy10([0, 1, 2, 3, 4, 5], side=SIDE)
  labels, columns, blocks = read(small(tmp_path))
  np.testing.assert_array_equal(labels, range(6))
  np.testing.assert_array_equal(np.concatenate(blocks), held["images"])
  np.testing.assert_array_equal(columns["redshift"], held["redshift"])


def test_classes_as_whole_floats_and_big_endian_numbers_are_read(tmp_path):
  labels, columns, _ = read(small(tmp_path, ans=np.arange(6, dtype=">f4"), ra=np.arange(6, dtype=">i2")))
  assert labels.tolist() == columns["ra"].tolist() == list(range(6))
  assert columns["ra"].dtype == np.float64


def test_a_shape_of_the_other_release_is_told(tmp_path):
  with pytest.raises(DataError, match=r"`images`, has the shape \(6, 69, 69, 3\).*\(N, 256, 256, 3\).*galaxy10/sdss"):
    read(small(tmp_path), DECALS)


@pytest.mark.parametrize("change, reason", [
    ({"images": None}, "lacks the key 'images'; it has 'ans', 'dec', 'pxscale', 'ra', 'redshift'"),
    ({"ans": None}, "lacks the key 'ans'"),
    ({"images": np.zeros((6, SIDE, SIDE, 3), np.float32)}, "the type float32"),
    ({"images": np.zeros((6, SIDE, SIDE), np.uint8)}, r"has the shape \(6, 69, 69\)"),
    ({"images": np.zeros((5, SIDE, SIDE, 3), np.uint8)}, r"`ans`, has the shape \(6,\).*each of the 5 images"),
    ({"ans": np.eye(6, 10)}, r"`ans`, has the shape \(6, 10\)"),
    ({"ans": np.array([b"a"] * 6)}, r"`ans`, has the shape \(6,\) and the type \|S1"),
    ({"ra": np.zeros(4)}, r"`ra`, has the shape \(4,\)"),
])
def test_a_wrong_key_is_named(tmp_path, change, reason):
  with pytest.raises(DataError, match=reason):
    read(small(tmp_path, **change))


def test_decals_must_have_what_it_was_published_with(tmp_path):
  held = galaxy10([0, 1])
  del held["pxscale"]
  with pytest.raises(DataError, match=r"lacks the key 'pxscale'.*zenodo"):
    read(write(tmp_path / "g.h5", held), DECALS)


def test_no_galaxies(tmp_path):
  path = small(tmp_path, images=np.zeros((0, SIDE, SIDE, 3), np.uint8), ans=np.zeros(0))
  with pytest.raises(DataError, match="has 0 rows"):
    read(path)


@pytest.mark.parametrize("keep", [0, 7, 100, 2000, -1])
def test_a_truncated_file(tmp_path, keep):
  path = small(tmp_path)
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(DataError, match=r"g\.h5 is no complete HDF5 file.*download it again"):
    read(path)


def test_a_folder_or_a_file_that_is_no_hdf5(tmp_path):
  (tmp_path / "page.h5").write_text("<html>not found</html>" * 1000)
  for path in (tmp_path, tmp_path / "page.h5", tmp_path / "nothing.h5"):
    with pytest.raises(DataError, match="no complete HDF5 file"):
      read(path)


def test_a_damaged_chunk_is_named_by_its_rows(tmp_path):
  path = write(tmp_path / "g.h5", galaxy10([0] * 6, side=SIDE), chunks=(2, SIDE, SIDE, 3))
  with h5py.File(path) as file:
    place = file["images"].id.get_chunk_info(1)
  data = bytearray(path.read_bytes())
  data[place.byte_offset:place.byte_offset + place.size] = bytes(place.size)
  path.write_bytes(data)
  with pytest.raises(DataError, match="`images`, rows 2 to 3, cannot be read"):
    read(path)


@pytest.mark.parametrize("chunks", [(1, SIDE, SIDE, 3), None])
def test_images_that_were_not_all_written(tmp_path, chunks):
  with h5py.File(tmp_path / "g.h5", "w") as file:
    images = file.create_dataset("images", (6, SIDE, SIDE, 3), np.uint8, chunks=chunks)
    if chunks:
      images[:4] = 1
    file["ans"] = np.zeros(6)
  with pytest.raises(DataError, match="not written to its end"):
    read(tmp_path / "g.h5")


def test_what_would_fill_memory_or_disk_is_refused(tmp_path):
  for name, shape, chunks in (("rows", (10**9, SIDE, SIDE, 3), (1, SIDE, SIDE, 3)),
                              ("chunks", (10**5, SIDE, SIDE, 3), (10**5, SIDE, SIDE, 3))):
    with h5py.File(tmp_path / f"{name}.h5", "w") as file:
      file.create_dataset("images", shape, np.uint8, chunks=chunks)
      file.create_dataset("ans", shape[:1], np.uint8, chunks=(1,))
  with pytest.raises(DataError, match="has 1000000000 rows"):
    read(tmp_path / "rows.h5")
  with pytest.raises(DataError, match="chunks of 1428300000 bytes"):
    read(tmp_path / "chunks.h5")


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual", "group"])
def test_arrays_elsewhere_are_not_read(tmp_path, kind):
  path = small(tmp_path, ans=None)
  other = small(tmp_path / "secret")
  with h5py.File(path, "a") as file:
    if kind == "external link":
      file["ans"] = h5py.ExternalLink(str(other), "/ans")
    elif kind == "soft link":
      file["ans"] = h5py.SoftLink("/ra")
    elif kind == "external storage":
      file.create_dataset("ans", (6,), np.uint8, external=[(str(other), 0, 6)])
    elif kind == "virtual":
      layout = h5py.VirtualLayout((6,), np.uint8)
      layout[:] = h5py.VirtualSource(str(other), "ans", (6,))
      file.create_virtual_dataset("ans", layout)
    else:
      file.create_group("ans")
  with pytest.raises(DataError, match="`ans`, is not an array in this file"):
    read(path)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
  """The bytes of a good small file."""
  folder = tmp_path_factory.mktemp("good")
  return write(folder / "g.h5", galaxy10([0, 1, 2], side=SIDE), chunks=(1, SIDE, SIDE, 3)).read_bytes()


# Derandomised: the library below is C, and a file that ends the process would end all tests with it.
@settings(max_examples=60, deadline=None, derandomize=True)
@given(places=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
       keep=st.none() | st.integers(0, 1 << 16))
def test_whatever_bytes_are_changed_only_the_one_error_comes_out(good, places, keep):
  data = bytearray(good)
  for place, replacement in places:
    place %= len(data)
    data[place:place + len(replacement)] = replacement
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "g.h5")
    path.write_bytes(data[:keep])
    try:
      labels, columns, blocks = read(path)
    except DataError as error:
      assert str(path) in str(error) and len(str(error)) < 2000
    else:
      assert sum(map(len, blocks)) == len(labels) == len(columns["ra"])


_TYPES = st.sampled_from(["u1", "i1", "i8", "f4", "f8", "c8", "S3", "?"])


@settings(max_examples=40, deadline=None)
@given(shape=st.lists(st.integers(0, 70), max_size=4), kind=_TYPES, label_shape=st.lists(st.integers(0, 7), max_size=2),
       label_kind=_TYPES)
def test_whatever_is_held_only_the_one_error_comes_out(shape, kind, label_shape, label_kind):
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "g.h5")
    with h5py.File(path, "w") as file:
      file["images"] = np.zeros(shape, kind)
      file["ans"] = np.zeros(label_shape, label_kind)
    try:
      labels, _, blocks = read(path)
    except DataError:
      return
    assert shape[1:] == [SIDE, SIDE, 3] and len(labels) == shape[0] == sum(map(len, blocks))


@settings(max_examples=60, deadline=None)
@given(rows=st.sets(st.integers(0, 39), min_size=1), chunk=st.integers(1, 40), most=st.integers(1, 50),
       least=st.integers(1, 20))
def test_blocks_and_pixels_are_the_rows_asked_for(rows, chunk, most, least):
  rows = sorted(rows)
  images = np.arange(40 * SIDE * SIDE * 3, dtype=np.uint32).reshape(40, SIDE, SIDE, 3).astype(np.uint8)
  with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
    patch.setattr("tfds_builders.galaxy10.hdf5_file._BLOCK_ROWS", least)
    patch.setattr("tfds_builders.galaxy10.hdf5_file._BLOCK_BYTES", most * SIDE * SIDE * 3)
    path = write(Path(folder, "g.h5"), {"images": images, "ans": np.zeros(40)}, chunks=(chunk, SIDE, SIDE, 3),
                 compression=None)
    with Galaxy10File(path, SDSS) as file:
      blocks = list(file.blocks(rows))
      assert list(itertools.chain(*blocks)) == rows and max(map(len, blocks)) <= most
      for block in blocks:
        np.testing.assert_array_equal(file.pixels(block), images[block])
