"""FITS headers that astropy would not come to an end with."""
import io

import pytest

from tfds_builders.fits_files import FitsError, FitsFile

pytest.importorskip("astropy", reason="FITS files need astropy: pip install 'galaxy_jax[survey]'")


def header(*cards: str) -> bytes:
  """Blocks of a FITS header."""
  text = "".join(card.ljust(80) for card in (*cards, "END"))
  return text.ljust(-(-len(text) // 2880) * 2880).encode()


def first(naxis: str = "0") -> bytes:
  return header("SIMPLE  =                    T", "BITPIX  =                    8", f"NAXIS   = {naxis:>20}")


@pytest.mark.parametrize("naxis", ["1000", "-1", "10000000000", "1e12", "1D12", "99999999999999999999999999"])
def test_impossible_counts_are_refused_in_any_hdu(naxis):
  with pytest.raises(FitsError, match="NAXIS is"):
    FitsFile(io.BytesIO(first(naxis)))
  second = header("XTENSION= 'IMAGE   '", "BITPIX  =                    8", f"NAXIS   = {naxis:>20}")
  columns = header("XTENSION= 'BINTABLE'", "BITPIX  =                    8", "NAXIS   =                    2",
                   "NAXIS1  =                    0", "NAXIS2  =                    0", f"TFIELDS = {naxis:>20}")
  for extension in (second, columns):
    with pytest.raises(FitsError, match=r"(NAXIS|TFIELDS) is"):
      list(FitsFile(io.BytesIO(first() + extension)).hdus())


def test_sound_headers_pass():
  with FitsFile(io.BytesIO(first())) as file:
    assert len(list(file.hdus())) == 1
    with pytest.raises(FitsError, match="no HDU 'SCI'"):
      file.hdu("SCI")


def test_a_header_without_an_end_is_refused():
  endless = first()[:240] + b"COMMENT ".ljust(80) * (4100 * 36)
  with pytest.raises(FitsError, match="without an end"):
    FitsFile(io.BytesIO(endless))
