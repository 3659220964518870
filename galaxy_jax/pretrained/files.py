"""Published weights as files: safetensors, from a path or from the Hugging Face hub. Nothing is ever unpickled."""
import re
from pathlib import Path

import numpy as np

#: What PyTorch's own formats are called; to read them is to run what they hold.
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".tar")
#: An owner and a name on the hub, with the prefix that timm writes and a revision, if given.
_HUB_NAME = re.compile(r"(?:hf[-_]hub:)?([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?")
#: The file of a published model.
_FILE = "model.safetensors"
_PIP = "pip install 'galaxy_jax[pretrained]'"


def is_path(source: str) -> bool:
  """Whether `config.model.pretrained` means a file or a folder, and not a name on the hub: ./owner/name is one."""
  path = Path(source)
  if path.suffix in (".safetensors", *_PICKLED) or source.startswith(("/", "~", ".")):
    return True
  return not _HUB_NAME.fullmatch(source) and path.exists()


def check(source: str) -> None:
  """Refuses what cannot be weights, whether it is there or not.

  Weights are a .safetensors file, a folder with `model.safetensors` in it, or a name on the hub.

  Raises:
    ValueError: it is none of these.
  """
  if not is_path(source):
    if not _HUB_NAME.fullmatch(source):
      raise ValueError(f"config.model.pretrained is {source!r}; expected a .safetensors file or a name on the Hugging "
                       "Face hub, such as timm/resnet50.a1_in1k or mwalmsley/zoobot-encoder-convnext_nano.")
    return
  path = Path(source).expanduser()
  if path.suffix in _PICKLED:
    raise ValueError(f"config.model.pretrained is {source}: only .safetensors files are read. A {path.suffix} of "
                     "PyTorch is a pickle, which can run any code when it is opened. Convert it where you trust it: "
                     "safetensors.torch.save_file(torch.load(path, weights_only=True), 'model.safetensors'), or look "
                     "for a .safetensors file beside it.")
  if path.suffix != ".safetensors" and path.is_file():
    raise ValueError(f"config.model.pretrained is {source}: only .safetensors files are read.")


def find(source: str) -> Path:
  """The file that `config.model.pretrained` names, downloaded into the hub's own cache if need be.

  Raises:
    ValueError: as `check`, or what downloads is not installed.
    FileNotFoundError: there is no such file, or the hub cannot be reached or does not have it.
  """
  check(source)
  if not is_path(source):
    return _download(source)
  path = Path(source).expanduser()
  if path.is_dir():
    if not (path / _FILE).is_file():
      raise FileNotFoundError(f"config.model.pretrained is {source}, a folder without {_FILE}; name the file in it.")
    return path / _FILE
  if not path.is_file():
    raise FileNotFoundError(f"config.model.pretrained is {source}, and there is no such file.")
  return path


def _download(source):
  try:
    import huggingface_hub
  except ImportError as error:
    raise ValueError(f"config.model.pretrained is {source!r}, on the Hugging Face hub; to download it, {_PIP}."
                     ) from error
  name, revision = _HUB_NAME.fullmatch(source).groups()
  try:
    return Path(huggingface_hub.hf_hub_download(name, _FILE, revision=revision))
  except Exception as error:  # what carries the bytes (requests, httpx, hf_xet, by version) has errors of its own
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise FileNotFoundError(
        f"config.model.pretrained is {source!r}, but {_FILE} of it could not be got from the Hugging Face hub: "
        f"{reason} Without the network: download https://huggingface.co/{name}/resolve/{revision or 'main'}/{_FILE} "
        "elsewhere and give its path instead.") from error


def read(path: Path) -> dict[str, np.ndarray]:
  """The tensors of a safetensors file by name, float32 wherever they are floating-point numbers of another width.

  Raises:
    ValueError: safetensors is not installed; the file is damaged or none; a tensor holds NaN or infinity.
  """
  try:
    import safetensors
  except ImportError as error:
    raise ValueError(f"{path} is a safetensors file; to read it, {_PIP}.") from error
  try:
    with safetensors.safe_open(path, framework="np") as file:
      tensors = {name: file.get_tensor(name) for name in file.keys()}
  except (safetensors.SafetensorError, OSError, TypeError, KeyError) as error:
    raise ValueError(f"{path} cannot be read as safetensors: {error}. It is damaged, cut short or something else; "
                     "download it again.") from error
  # bfloat16 and the eight-bit types are no floating-point numbers to numpy.
  tensors = {name: x if np.issubdtype(x.dtype, np.integer) else x.astype(np.float32) for name, x in tensors.items()}
  if bad := [name for name, x in tensors.items() if not np.all(np.isfinite(x))]:
    raise ValueError(f"{path} holds NaN or infinity in {', '.join(bad)}; download it again.")
  return tensors
