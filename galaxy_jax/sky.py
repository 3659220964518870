"""Where on the sky the pixels of a FITS image are. astropy, in the extra `survey`, knows the projections."""
import io
import logging

import numpy as np

from tfds_builders import extras
from tfds_builders.fits_files import FitsFile, quiet, reason

logger = logging.getLogger(__name__)


class Sky:
  """The celestial coordinates of an image; from `of_fits`."""

  def __init__(self, wcs):
    """Of astropy's celestial WCS of two axes."""
    self._wcs = wcs
    utils = extras.load("astropy.wcs.utils", extra="survey", purpose="A size on the sky")
    with quiet():
      #: Square arcseconds of a pixel, at the reference point.
      self.pixel_area = float(utils.proj_plane_pixel_area(wcs)) * 3600**2

  def positions(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination (ICRS, degrees) of pixels, (0, 0) the first one's centre, rows from the bottom.

    Where the projection has no sky they are NaN.
    """
    if not len(x):
      return np.zeros(0), np.zeros(0)
    with quiet():
      place = self._wcs.pixel_to_world(np.asarray(x, float), np.asarray(y, float)).icrs
    return place.ra.deg, place.dec.deg

  def header(self):
    """astropy's header with the coordinates, distortions too."""
    with quiet():
      return self._wcs.to_header(relax=True)


def of_fits(data: bytes, name: str) -> Sky | None:
  """The coordinates of a FITS file's first image; None of one that has none, which is no error, or no usable ones.

  Args:
    data: of a file whose pixels could be read, maybe compressed.
    name: the file's, for the log.

  Raises:
    DataError: astropy is not installed.
  """
  module = extras.load("astropy.wcs", extra="survey", purpose="A position on the sky")
  with FitsFile(io.BytesIO(data)) as file:
    image = next(hdu for hdu in file.hdus() if hdu.is_image and len(hdu.shape) >= 2 and min(hdu.shape))
    try:
      with quiet():
        celestial = module.WCS(image.header).celestial
        if not celestial.has_celestial:
          return None
        found = Sky(celestial)
        found.positions(np.zeros(1), np.zeros(1))  # of the sun, or of an unknown frame, there are none
        return found
    except Exception as error:  # InvalidTransformError, ValueError, … : whatever the header leads to.
      logger.warning("Without positions on the sky: %s has coordinates that cannot be used (%s).", name, reason(error))
      return None
