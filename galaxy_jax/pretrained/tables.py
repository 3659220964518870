"""Which published tensor each of our parameters is, a table a family of networks, in timm's names.

A rule is a pattern of our module's path, joined by slashes, and the published module's name, in which <1> stands for
the pattern's first group and <1-1> for the number in it less one. What a tensor is called inside its module is the same
everywhere (LEAVES); a parameter of another name, such as a layer's scale, has a rule for its own whole path.
"""
import re
from typing import NamedTuple

#: The last part of a parameter's name, ours to PyTorch's.
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


class Table(NamedTuple):
  """The names of a family.

  Attributes:
    rules: pattern of our path → published name.
    head: our modules that depend on what is predicted → published names. Where the file has none, or of another shape,
      they stay as they are; where the network has none, those of the file are left out.
    stem: our first convolution, which may see another number of colours than the published one.
    left_out: beginnings of published names that no classifier of ours has: auxiliary outputs and the like.
    normalise: how the images were normalised that timm's weights of the family learnt from (its `pretrained_cfg`), a
      name in augment.NORMALISATIONS; single ones of it may differ.
  """
  rules: dict[str, str]
  head: dict[str, str]
  stem: str = "stem"
  left_out: tuple[str, ...] = ()
  normalise: str = "imagenet"

  def published(self, path: tuple[str, ...]) -> str | None:
    """The published name of our parameter, or None."""
    leaf = LEAVES.get(path[-1])
    ours = "/".join(path[:-1] if leaf else path)
    for pattern, name in (self.rules | self.head).items():
      if match := re.fullmatch(pattern, ours):
        return _filled(name, match) + (f".{leaf}" if leaf else "")
    return None


def _filled(name, match):
  number = lambda found: match[int(found[1])] if not found[2] else str(int(match[int(found[1])]) + int(found[2]))
  return re.sub(r"<(\d)([+-]\d+)?>", number, name)


_RESNET = Table(
    rules={
        "stem": "conv1",
        "stem_norm": "bn1",
        r"stage(\d)_block(\d+)/Conv_(\d)": "layer<1>.<2-1>.conv<3+1>",
        r"stage(\d)_block(\d+)/BatchNorm_(\d)": "layer<1>.<2-1>.bn<3+1>",
        r"stage(\d)_block(\d+)/projection": "layer<1>.<2-1>.downsample.0",
        r"stage(\d)_block(\d+)/projection_norm": "layer<1>.<2-1>.downsample.1",
    },
    head={"head": "fc"})

#: PyTorch counts the activations and pools between the convolutions, too.
_VGG = Table(
    rules={f"stage{stage}_conv{conv}": f"features.{number}" for stage, numbers in enumerate(
        ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), 1) for conv, number in enumerate(numbers, 1)},
    head={"hidden1": "pre_logits.fc1", "hidden2": "pre_logits.fc2", "head": "head.fc"},
    stem="stage1_conv1")

_INCEPTION = Table(
    rules={
        r"stage1_conv1/conv": "Conv2d_1a_3x3.conv",
        r"stage1_conv2/conv": "Conv2d_2a_3x3.conv",
        r"stage1_conv3/conv": "Conv2d_2b_3x3.conv",
        r"stage2_conv1/conv": "Conv2d_3b_1x1.conv",
        r"stage2_conv2/conv": "Conv2d_4a_3x3.conv",
        r"stage1_conv1/norm": "Conv2d_1a_3x3.bn",
        r"stage1_conv2/norm": "Conv2d_2a_3x3.bn",
        r"stage1_conv3/norm": "Conv2d_2b_3x3.bn",
        r"stage2_conv1/norm": "Conv2d_3b_1x1.bn",
        r"stage2_conv2/norm": "Conv2d_4a_3x3.bn",
        r"stage\d_mixed(\w+)/(\w+)/conv": "Mixed_<1>.<2>.conv",
        r"stage\d_mixed(\w+)/(\w+)/norm": "Mixed_<1>.<2>.bn",
    },
    head={"head": "fc"},
    stem="stage1_conv1/conv",
    left_out=("AuxLogits.",),
    normalise="symmetric")

#: PyTorch counts the activations before the separable convolutions, too, of which the first block has one less.
_XCEPTION = Table(
    rules={
        r"stage1_conv(\d)": "conv<1>",
        r"stage1_norm(\d)": "bn<1>",
        r"stage5_separable(\d)/depthwise": "conv<1+2>.conv1",
        r"stage5_separable(\d)/pointwise": "conv<1+2>.pointwise",
        r"stage5_norm(\d)": "bn<1+2>",
        r"stage\d_block(\d+)/projection": "block<1>.skip",
        r"stage\d_block(\d+)/projection_norm": "block<1>.skipbn",
        **{rf"stage\d_block{block}/{ours}": f"block{group}.rep.{number}{theirs}"
           for block, group, numbers in (("1", "1", (0, 3)), (r"(\d+)", "<1>", (1, 4, 7)))
           for i, first in enumerate(numbers, 1)
           for ours, number, theirs in ((f"separable{i}/depthwise", first, ".conv1"),
                                        (f"separable{i}/pointwise", first, ".pointwise"),
                                        (f"norm{i}", first + 1, ""))},
    },
    head={"head": "fc"},
    stem="stage1_conv1",
    normalise="symmetric")

_CONVNEXT = Table(
    rules={
        "stem": "stem.0",
        "stem_norm": "stem.1",
        r"stage(\d)_downsample_norm": "stages.<1-1>.downsample.0",
        r"stage(\d)_downsample": "stages.<1-1>.downsample.1",
        r"stage(\d)_block(\d+)/gamma": "stages.<1-1>.blocks.<2-1>.gamma",
        r"stage(\d)_block(\d+)/depthwise": "stages.<1-1>.blocks.<2-1>.conv_dw",
        r"stage(\d)_block(\d+)/norm": "stages.<1-1>.blocks.<2-1>.norm",
        r"stage(\d)_block(\d+)/expand": "stages.<1-1>.blocks.<2-1>.mlp.fc1",
        r"stage(\d)_block(\d+)/contract": "stages.<1-1>.blocks.<2-1>.mlp.fc2",
        "last_norm": "head.norm",
    },
    head={"head": "head.fc"})

_VISION_TRANSFORMER = Table(
    rules={
        "stem": "patch_embed.proj",
        "stem_class": "cls_token",
        "stem_position": "pos_embed",
        r"stage(\d+)/gamma(\d)": "blocks.<1-1>.ls<2>.gamma",
        r"stage(\d+)/norm(\d)": "blocks.<1-1>.norm<2>",
        r"stage(\d+)/attention/qkv": "blocks.<1-1>.attn.qkv",
        r"stage(\d+)/attention/projection": "blocks.<1-1>.attn.proj",
        r"stage(\d+)/expand": "blocks.<1-1>.mlp.fc1",
        r"stage(\d+)/contract": "blocks.<1-1>.mlp.fc2",
        "last_norm": "norm",
    },
    head={"head": "head"},
    left_out=("mask_token",))

#: The table of each model in models.MODELS that has published weights.
TABLES = {
    **dict.fromkeys(("resnet18", "resnet26", "resnet50", "resnet101"), _RESNET),
    **dict.fromkeys(("convnext_pico", "convnext_nano", "convnext_tiny", "convnext_small", "convnext_base"), _CONVNEXT),
    **dict.fromkeys(("dinov2_small", "dinov2_base"), _VISION_TRANSFORMER),
    "vgg16": _VGG,
    "inception_v3": _INCEPTION,
    "xception": _XCEPTION,
}
