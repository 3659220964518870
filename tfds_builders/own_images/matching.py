"""Counterparts in a second table by position on the sky."""
from typing import NamedTuple

import numpy as np

from tfds_builders import extras


class Counterparts(NamedTuple):
  """What was found.

  Attributes:
    row: (N,) int64, each galaxy's row in the second table, -1 where there is none.
    ambiguous: how many galaxies had more than one within the radius; they have the nearest.
    shared: how many galaxies have a row that another has too.
  """
  row: np.ndarray
  ambiguous: int
  shared: int


def on_sky(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
  """Which positions in degrees are positions: finite, and of a possible declination."""
  return np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90) & (np.abs(ra) <= 360)


def counterparts(ra: np.ndarray, dec: np.ndarray, match_ra: np.ndarray, match_dec: np.ndarray,
                 radius_arcsec: float) -> Counterparts:
  """For each galaxy the nearest row of a second table, within a radius.

  Args:
    ra, dec: (N,) degrees, ICRS; what is no position (`on_sky`) has no counterpart.
    match_ra, match_dec: (M,) likewise.
    radius_arcsec: the largest distance.

  Raises:
    DataError: astropy or scipy is not installed.
  """
  extras.load("scipy", extra="survey", purpose="Matching by position")
  coordinates = extras.load("astropy.coordinates", extra="survey", purpose="Matching by position")
  row = np.full(len(ra), -1, np.int64)
  mine, theirs = np.flatnonzero(on_sky(ra, dec)), np.flatnonzero(on_sky(match_ra, match_dec))
  if not (len(mine) and len(theirs)):
    return Counterparts(row, 0, 0)
  galaxies = coordinates.SkyCoord(ra[mine], dec[mine], unit="deg")
  catalogue = coordinates.SkyCoord(match_ra[theirs], match_dec[theirs], unit="deg")
  nearest, distance, _ = galaxies.match_to_catalog_sky(catalogue)
  near = np.atleast_1d(distance.arcsec) <= radius_arcsec
  row[mine[near]] = theirs[np.atleast_1d(nearest)[near]]
  ambiguous = 0
  if len(theirs) > 1:
    _, second, _ = galaxies.match_to_catalog_sky(catalogue, nthneighbor=2)
    ambiguous = int(np.count_nonzero(np.atleast_1d(second.arcsec) <= radius_arcsec))
  _, number = np.unique(row[row >= 0], return_counts=True)
  return Counterparts(row, ambiguous, int(number[number > 1].sum()))
