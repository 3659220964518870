"""Augmentation on the device: one affine warp with one interpolation, then colour.

Crop, resize, rotation, zoom, shift, flip and stretch are one matrix a row, so an image is interpolated once, from the
working image as it was decoded. Every random number of a row comes from that row's own key: what happens to an image
does not depend on the images beside it, on the batch size or on the number of devices. (With jax's default threefry
keys; the `rbg` ones do not promise this under vmap.)

Coordinates: (x, y) in pixels, x along columns and y along rows, whole numbers at the centres of pixels. A matrix is
2×3 and maps the *output* to the *input*, both taken from the centre of their image,

  x_in - (W_in - 1) / 2 = m00 u + m01 v + m02,    u = x_out - (size - 1) / 2
  y_in - (H_in - 1) / 2 = m10 u + m11 v + m12,    v = y_out - (size - 1) / 2

so that the same matrix serves input images of any size. Flips and turns by 90° are exact where scale is 1 and
both sides are even, or both odd.

The augmentations follow Dieleman, Willett & Dambre 2015, MNRAS 450, 1441.
"""
import itertools

import jax
import jax.numpy as jnp
import numpy as np

#: Luma of red, green and blue (ITU-R BT.601), as in Pillow's conversion to "L".
GREY_WEIGHTS = (0.299, 0.587, 0.114)

#: The first principal component of the challenge's RGB values in [0, 1], times its scale (benanne/kaggle-galaxies).
PCA_COLOUR = (-0.0148366, -0.01253134, -0.01040762)

#: Mean and standard deviation of ImageNet's red, green and blue in [0, 1], as torchvision and timm use them.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# What a row's key is folded with, so that the geometry and the colour of a row are independent.
_GEOMETRY, _COLOUR = 0, 1


def affine_matrices(keys, *, crop, size, rotation=0.0, zoom=1.0, shift=0.0, flip=False, stretch=1.0,
                    rotation_step=0.0):
  """Draws one matrix a row.

  Args:
    keys: (B,) typed PRNG keys, one a row.
    crop: side of the square of the input, in its pixels, that fills the output when nothing is drawn.
    size: side of the output, pixels.
    rotation: degrees, the whole range: the angle is uniform in ±rotation / 2. 360 is any orientation.
    zoom: at least 1: the magnification is log-uniform in [1 / zoom, zoom].
    shift: fraction of `crop`: the centre moves by up to this along each axis, uniformly.
    flip: whether half of the rows are mirrored left to right.
    stretch: at least 1: the ratio by which one axis is stretched against the other is log-uniform in
      [1 / stretch, stretch]; areas stay the same. It changes how round a galaxy looks.
    rotation_step: degrees: the angle is one of its multiples in ±rotation / 2, all equally likely, both ends among them
      but a whole turn's once. With 360 and 90 these are the four turns that move no pixel off its grid, with 180 and 90
      three of them; 0: any angle.

  Returns:
    (B, 2, 3) float32, see the module's docstring.

  Raises:
    ValueError: a range that contains nothing, or a step that does not divide it.
  """
  if crop <= 0 or size <= 0 or rotation < 0 or zoom < 1 or shift < 0 or stretch < 1 or rotation_step < 0:
    raise ValueError("expected crop and size above 0, rotation, its step and shift of at least 0, zoom and stretch of "
                     f"at least 1; got crop {crop}, size {size}, rotation {rotation}, rotation_step {rotation_step}, "
                     f"zoom {zoom}, shift {shift}, stretch {stretch}")

  def draw(key):
    # Each number has its place in one draw: turning one augmentation off leaves the others as they were.
    return jax.random.uniform(jax.random.fold_in(key, _GEOMETRY), (6,), minval=-1.0)

  angle, log_zoom, log_stretch, mirror, shift_x, shift_y = jax.vmap(draw)(keys).T
  if rotation_step:
    angles = _angles(rotation, rotation_step)
    angle = angles[jnp.minimum((angle + 1) / 2 * len(angles), len(angles) - 1).astype(jnp.int32)]
  else:
    angle = rotation / 2 * angle
  angle = jnp.deg2rad(angle)
  scale = crop / size * jnp.exp(-jnp.log(zoom) * log_zoom)
  along = jnp.exp(jnp.log(stretch) / 2 * log_stretch)
  mirrored = jnp.where(flip & (mirror < 0), -1.0, 1.0)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  if rotation_step:
    # The cosine of 90° is -4e-8, which would move pixels off their grid.
    cos, sin = jnp.round(cos, 6), jnp.round(sin, 6)
  linear = _linear(cos, sin, scale * along * mirrored, scale / along)
  return jnp.concatenate([linear, crop * shift * jnp.stack([shift_x, shift_y], -1)[..., None]], axis=-1)


def _angles(rotation, step):
  """The multiples of `step` in ±rotation / 2, degrees, ascending."""
  if rotation < 2 * step or abs(rotation / step - round(rotation / step)) > 1e-6:
    raise ValueError(f"config.augment.rotation_step is {step:g}; expected 0, or degrees that divide "
                     f"config.augment.rotation, {rotation:g}, into two parts or more.")
  number = round(rotation / step)
  if rotation != 360:  # as many on either side of 0; of a whole turn the ends are one
    number = number // 2 * 2 + 1
  return step * (jnp.arange(number) - number // 2)


def _linear(cos, sin, scale_x, scale_y):
  """A rotation of the axes after they are scaled, (..., 2, 2)."""
  return jnp.stack([jnp.stack([cos * scale_x, -sin * scale_y], -1), jnp.stack([sin * scale_x, cos * scale_y], -1)], -2)


def view_matrices(*, crop, size, rotations=(0.0,), flips=(False,), zooms=(1.0,)):
  """The fixed matrices of test-time averaging: every rotation with every flip and zoom.

  Args:
    crop, size: as in `affine_matrices`.
    rotations: angles in degrees; multiples of 90 are exact.
    flips: (False,) or (False, True).
    zooms: magnifications.

  Returns:
    (V, 2, 3) float32 numpy array, rotations varying slowest; the first is the plain centre crop if the arguments
    begin with 0, False and 1.
  """
  views = []
  for rotation, flip, zoom in itertools.product(rotations, flips, zooms):
    # Rounding removes the 6e-17 that numpy makes of the cosine of 90°.
    cos, sin = np.round(np.cos(np.deg2rad(rotation)), 15), np.round(np.sin(np.deg2rad(rotation)), 15)
    scale = crop / size / zoom
    mirrored = -scale if flip else scale
    views.append([[cos * mirrored, -sin * scale, 0.0], [sin * mirrored, cos * scale, 0.0]])
  return np.asarray(views, np.float32)


def _reflect(position, size):
  """Folds positions back into [0, size - 1] as by mirrors at the centres of the first and last pixel."""
  period = 2.0 * (size - 1)
  position = jnp.abs(position)
  position = position - period * jnp.floor(position / period)
  return jnp.minimum(position, period - position)


def _clamp(position, size):
  return jnp.clip(position, 0.0, size - 1)


#: What lies beyond the border of an image: its mirror image (scipy's "mirror") or its last pixel ("nearest").
BORDERS = {"reflect": _reflect, "edge": _clamp}


def warp(images, matrices, size, *, border="reflect"):
  """Resamples each image through its matrix, with one bilinear interpolation.

  There is no low-pass filter: a scale (crop / size / zoom) much above 2 input pixels a pixel aliases. Decode to a
  smaller working size instead.

  Args:
    images: (B, H, W, C) uint8, or floating point in [0, 1].
    matrices: (B, 2, 3), or (2, 3) for all rows alike; see the module's docstring.
    size: side of the output, pixels.
    border: a name in BORDERS.

  Returns:
    (B, size, size, C) float32, in [0, 1].

  Raises:
    ValueError: not a batch of images, or one of less than 2×2 pixels; matrices of another shape; an unknown border.
  """
  if images.ndim != 4 or min(images.shape[1:3]) < 2:
    raise ValueError(f"expected images of shape (B, H, W, C) with H and W of at least 2, got {images.shape}")
  rows, height, width, _ = images.shape
  if jnp.shape(matrices) not in ((2, 3), (rows, 2, 3)):
    raise ValueError(f"expected matrices of shape (2, 3) or ({rows}, 2, 3), got {jnp.shape(matrices)}")
  if border not in BORDERS:
    raise ValueError(f"no border {border!r}: expected one of {sorted(BORDERS)}")
  matrices = jnp.broadcast_to(jnp.asarray(matrices, jnp.float32), (rows, 2, 3))

  def corner(coefficients, length):
    """The position along one axis of the input: the pixel before it and how far beyond."""
    position = BORDERS[border](_positions(coefficients, length, size), length)
    # Never the last pixel, whose right neighbour is not there: it is the one before it and a fraction of 1.
    before = jnp.minimum(position.astype(jnp.int32), length - 2)
    return before, (position - before)[..., None]

  x, x_fraction = corner(matrices[:, 0], width)
  y, y_fraction = corner(matrices[:, 1], height)
  # A batched gather of whole pixels: the partitioner keeps each row on its device. On CPU neither pixels packed into
  # words nor one gather of 2×2 blocks is faster (benchmarks/augment.py).
  gather = jax.vmap(lambda image, row, column: image.at[row, column].get(mode="promise_in_bounds"))
  upper_left, upper_right, lower_left, lower_right = (
      gather(images, y + dy, x + dx).astype(jnp.float32) for dy in (0, 1) for dx in (0, 1))
  upper = upper_left + x_fraction * (upper_right - upper_left)
  lower = lower_left + x_fraction * (lower_right - lower_left)
  result = upper + y_fraction * (lower - upper)
  return result * (1 / 255) if images.dtype == jnp.uint8 else result


def _positions(coefficients, length, size):
  """Where the output's pixels lie along one axis of the input: (B, size, size) from a matrix's row (B, 3)."""
  centred = jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2
  m0, m1, m2 = (coefficients[:, i, None, None] for i in range(3))
  return m0 * centred + m1 * centred[:, None] + m2 + (length - 1) / 2


def warp_masks(planes, matrices, size):
  """Takes masks through their image's matrix: a pixel is in a mask where its centre lies in one of the mask's pixels.

  Args:
    planes: (B, H, W, P), of any type; see detection.bit_planes.
    matrices: (B, 2, 3), as for `warp`.
    size: side of the output, pixels.

  Returns:
    (B, size, size, P) of the same type, 0 beyond the border.
  """
  height, width = planes.shape[1:3]
  y, x = (jnp.round(_positions(matrices[:, axis], length, size)).astype(jnp.int32)
          for axis, length in ((1, height), (0, width)))
  inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
  taken = jax.vmap(lambda image, row, column: image[row, column])(
      planes, jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1))
  return jnp.where(inside[..., None], taken, jnp.zeros((), planes.dtype))


def transform_points(matrices, points, *, input_shape, size):
  """Takes points of the input to where `warp` puts them.

  Args:
    matrices: (..., 2, 3), as for `warp`.
    points: (..., N, 2) as (x, y) pixels of the input, whole numbers at pixel centres.
    input_shape: (H, W) of the input.
    size: side of the output, pixels.

  Returns:
    (..., N, 2) as (x, y) pixels of the output, outside of it for points that were cropped away.
  """
  (a, b), (c, d) = (tuple(matrices[..., i, j, None] for j in range(2)) for i in range(2))
  height, width = input_shape
  x = points[..., 0] - (width - 1) / 2 - matrices[..., 0, 2, None]
  y = points[..., 1] - (height - 1) / 2 - matrices[..., 1, 2, None]
  determinant = a * d - b * c
  return jnp.stack([(d * x - b * y) / determinant, (a * y - c * x) / determinant], axis=-1) + (size - 1) / 2


def colour(keys, images, *, brightness=0.0, contrast=0.0, saturation=0.0, channel_gain=0.0, pca_noise=0.0, noise=0.0):
  """Changes the colours of each row, and clips to [0, 1]. A strength of 0 turns its part off, at no cost.

  Args:
    keys: (B,) typed PRNG keys, one a row; those of `affine_matrices` may be given again.
    images: (B, H, W, C) float32 in [0, 1]; three channels for saturation and pca_noise.
    brightness: s: x ← f x, with f uniform in [1 - s, 1 + s].
    contrast: s: x ← m + f (x - m) about the image's mean grey m, f likewise.
    saturation: s: x ← g + f (x - g) about each pixel's grey g, f likewise.
    channel_gain: s: x ← f x with one f a channel: a shift of colour.
    pca_noise: σ: x ← x + t c with t normal of this deviation and c = PCA_COLOUR; Dieleman et al. took 0.5.
    noise: σ of gaussian noise, drawn for each pixel and channel; on CPU the draw costs more than the warp.

  Returns:
    Of the images' shape; the images themselves when all strengths are 0.
  """
  if not any((brightness, contrast, saturation, channel_gain, pca_noise, noise)):
    return images
  channels = images.shape[-1]
  if channels != 3 and (saturation or pca_noise):
    raise ValueError(f"saturation and pca_noise are of red, green and blue, but the images have {channels} channels")
  keys = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, _COLOUR), 6))(keys)

  def factor(part, strength, count=1):
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (count,), minval=-1.0))(keys[:, part])
    return 1 + strength * drawn[:, None, None, :]

  if brightness:
    images = images * factor(0, brightness)
  if contrast:
    # The mean of the grey is the grey of the mean.
    mean = jnp.mean(images, axis=(1, 2), keepdims=True)
    mean = greyscale(mean) if channels == 3 else jnp.mean(mean, axis=-1, keepdims=True)
    images = mean + factor(1, contrast) * (images - mean)
  if saturation:
    grey = greyscale(images)
    images = grey + factor(2, saturation) * (images - grey)
  if channel_gain:
    images = images * factor(3, channel_gain, channels)
  if pca_noise:
    drawn = jax.vmap(jax.random.normal)(keys[:, 4])
    images = images + pca_noise * drawn[:, None, None, None] * jnp.asarray(PCA_COLOUR)
  if noise:
    images = images + noise * jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys[:, 5])
  return jnp.clip(images, 0.0, 1.0)


def greyscale(images):
  """The luma of colour images: (..., 3) → (..., 1), weighted by GREY_WEIGHTS."""
  # Neither a matrix product, which TPUs round to bfloat16, nor a reduction over an axis of three, slow on CPU.
  red, green, blue = (images[..., channel:channel + 1] for channel in range(3))
  return GREY_WEIGHTS[0] * red + GREY_WEIGHTS[1] * green + GREY_WEIGHTS[2] * blue


#: What matterport's Mask R-CNN takes from red, green and blue in [0, 255] (`MEAN_PIXEL`), without a division.
MATTERPORT = (123.7, 116.8, 103.9)


def _per_image(images):
  """Zero mean and unit deviation over each image's pixels and channels; an empty image stays finite."""
  axes = (-3, -2, -1)
  # As tf.image.per_image_standardization: a flat image is not divided by nothing.
  smallest = 1 / np.sqrt(np.prod([images.shape[axis] for axis in axes]))
  return (images - jnp.mean(images, axes, keepdims=True)) / jnp.maximum(jnp.std(images, axes, keepdims=True), smallest)


def _imagenet(images):
  """Each channel less ImageNet's mean, by its deviation; of grey images, less the mean of the three channels'."""
  mean, deviation = (np.asarray(values, np.float32) for values in IMAGENET)
  if images.shape[-1] == 1:
    mean, deviation = mean.mean(keepdims=True), deviation.mean(keepdims=True)
  return (images - mean) / deviation


#: What becomes of the pixels, (..., H, W, C) in [0, 1], before the network: nothing; each image by its own mean and
#: deviation (Zhu et al. 2019); or as published weights that were trained on ImageNet expect them: most by its means and
#: deviations, Inception's and Xception's in [-1, 1], those of matterport's Mask R-CNN in [0, 255] less a mean.
NORMALISATIONS = {"none": lambda images: images, "per_image": _per_image, "imagenet": _imagenet,
                  "symmetric": lambda images: 2 * images - 1,
                  "matterport": lambda images: 255 * images - np.float32(MATTERPORT)}
