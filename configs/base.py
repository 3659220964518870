"""The defaults of every experiment: the one place where a key gets its value and its meaning.

An experiment's file starts from `get_config()` and changes what it must. Every key can be changed on the command
line, `--config.train.batch_size=64` for instance; a key that is not here is refused.
"""
import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """All keys with their defaults."""
  c = ml_collections.ConfigDict()
  c.name = "run"  # shown on the report
  c.variant = ""  # which of the experiment's variants this is: the config's string argument, or chosen by hardware
  c.seed = 0  # decides the first parameters, the order of the data and every augmentation
  c.task = "votes"  # the problem: a name in galaxy_jax.tasks.TASKS
  c.parallel = "jit"  # jit over a mesh of all devices, or pmap
  # Workdir of another run, or the name of a model that comes with the package, whose evaluated parameters this one
  # starts from; empty: random ones, or model.pretrained.
  c.init_from = ""

  c.data = data = ml_collections.ConfigDict()
  data.builder = "galaxy_zoo_challenge"  # a name in tfds_builders.BUILDERS, with /config for one that has several
  # Which galaxies to train on. auto: the builder's; where it has no files, no build and no way to download them, the
  # run becomes the simulated one that the section `simulated` describes. real: the builder's, or an error. simulated:
  # new ones at every step, drawn on the device as the section `simulator` says; data.eval and data.test are the
  # builder's.
  data.source = "auto"
  data.manual_dir = ""  # folder with the published files; needed until the data set is built
  data.data_dir = ""  # where data sets are built; empty: TFDS_DATA_DIR, else ~/tensorflow_datasets
  data.cache_dir = ""  # where decoded pixels are kept; empty: beside the data set
  data.skip_bad = False  # build without bad rows and images, listing them, instead of stopping
  data.train = "train"  # split to train on
  data.eval = "validation"  # split to evaluate on
  data.test = "test"  # split without labels to predict; empty: none
  data.crop = 0  # central source pixels to keep; 0: the whole image
  data.size = 212  # working pixels the crop is scaled to, once, before training
  # The feature that is learnt as vote fractions: vote_fractions, as the challenge counts them; of galaxy_zoo_2 also
  # debiased, whose fractions are of those who were asked and need not obey the tree.
  data.target = "vote_fractions"
  data.label = "label"  # of classes: the feature that holds a galaxy's class
  # Of classes: how often galaxies come in an epoch, each time augmented anew. Those of a class are repeated, a whole
  # number of times, to as near as can be to this share of the most frequent class; 0: every galaxy comes once.
  data.repeat_rare = 0.0
  # Of instances: objects that an image has room for (of more the smallest become background, and the log says so), and
  # classes whose objects are neither found nor background, beside what the data set itself ignores.
  data.max_instances = 16
  data.ignore_classes = ()
  data.loader = "auto"  # resident: decoded split on the devices; stream: Grain; auto: resident where it fits
  data.workers = 0  # processes of the stream loader (0: threads), threads of the decoder (0: one per core)

  # With data.source='simulated', data.crop and data.size are of the simulated images, and data.train is not used.
  c.simulator = simulator = ml_collections.ConfigDict()
  simulator.mix = "natural"  # the population: a name in galaxy_jax.simulate.MIXES
  simulator.quality = 0  # JPEG quality of the images, 1 to 100; 0: no JPEG
  simulator.votes = "drawn"  # of about 40 volunteers; expected: what the fractions of ever more of them would come to
  simulator.epoch = 61_578  # how many galaxies count as an epoch; train.steps gives a run's length outright

  c.augment = augment = ml_collections.ConfigDict()
  augment.size = 128  # pixels the network sees
  # Smaller ones in the first parts of a run, as shares of it: (0.5, 0.75) for three equal parts, the last with all.
  augment.growth = ()
  augment.view = 0.75  # share of the working image's width that the network sees at zoom 1
  augment.rotation = 360.0  # degrees, the full range of angles
  augment.rotation_step = 0.0  # degrees, the angles are multiples of it: 90 for turns that resample nothing; 0: any
  augment.flip = True  # mirror half of the images
  augment.zoom = 1.3  # magnification, log-uniform in [1/zoom, zoom]
  augment.stretch = 1.0  # ratio of the axes, log-uniform in [1/stretch, stretch]
  augment.shift = 0.02  # the centre moves by up to this share of the view's width, along both axes
  augment.brightness = 0.0  # s: pixels times a factor uniform in [1 - s, 1 + s]
  augment.contrast = 0.0  # likewise, the difference to the image's mean
  augment.saturation = 0.0  # likewise, the difference of each pixel to its grey
  augment.channel_gain = 0.0  # likewise, each channel with a factor of its own
  augment.pca_noise = 0.0  # standard deviation along the first principal component of RGB (Dieleman et al. took 0.5)
  augment.noise = 0.0  # standard deviation of Gaussian noise, for each pixel and channel
  # Of votes and classes, galaxies are mixed two by two and their labels with them: α of the Beta(α, α) that their
  # shares come from, of a mean of two images, or of a box of one in the other; with both, of one or the other; 0: not.
  augment.mixup = 0.0
  augment.cutmix = 0.0
  augment.greyscale = False  # one channel instead of three
  # What becomes of the pixels last: none (they are in [0, 1]), per_image (each image's mean 0, deviation 1), or, as
  # published weights expect them, imagenet, symmetric (in [-1, 1]: Inception's and Xception's), or matterport.
  augment.normalise = "none"

  c.model = model = ml_collections.ConfigDict()
  model.name = "resnet18"  # a name in galaxy_jax.models.MODELS; of instances in DETECTORS there
  model.options = ml_collections.ConfigDict()  # the model's own attributes, see its docstring
  # Of votes: tree (valid by construction), sigmoid, dieleman (normalised), clipped (each value by itself), or dirichlet
  # (the means of predicted distributions).
  model.output = "tree"
  # Of classes, the last layer's first biases: zeros, or log_frequencies (those of the training split's classes).
  model.head_bias = "zeros"
  model.dtype = "auto"  # of the computation: float32, bfloat16; auto: bfloat16 on GPU and TPU
  # Published weights to start from: a .safetensors file in timm's names, or a name on the Hugging Face hub such as
  # timm/resnet50.a1_in1k or mwalmsley/zoobot-encoder-convnext_nano, perhaps with @ and a revision; empty: none.
  # Of instances also torchvision's Mask R-CNN (.safetensors) or matterport's (.h5); a classifier's become the backbone.
  model.pretrained = ""

  c.loss = loss = ml_collections.ConfigDict()
  # Of votes: squared_error, binary_cross_entropy, tree_cross_entropy, or dirichlet_multinomial (of the votes' numbers).
  # Of classes: cross_entropy or focal. Of instances: mask_rcnn, the sum of five, see `detection`.
  loss.name = "squared_error"
  loss.volunteers = 40.0  # dirichlet_multinomial: how many saw a galaxy, where the data set does not say

  loss.label_smoothing = 0.0  # of classes: share of a label that is spread over all classes
  loss.focal_gamma = 2.0  # focal: how much less a galaxy counts the surer it is right; 0: the cross-entropy
  loss.class_weights = "none"  # of classes: none, or balanced (each class has the same part in the loss)

  # Of instances: what the two stages learn from, see galaxy_jax.detection.targets.
  c.detection = detection = ml_collections.ConfigDict()
  # Of objectness, proposals' boxes, classes, boxes and masks.
  detection.loss_weights = (1.0, 1.0, 1.0, 1.0, 1.0)
  detection.anchors = anchors = ml_collections.ConfigDict()
  anchors.num_samples = 256  # anchors of an image in the loss
  anchors.positive_share = 0.5  # of them, at most, are objects
  anchors.positive = 0.7  # overlap with an object from which an anchor is one; so is each object's best
  anchors.negative = 0.3  # overlap below which it is background
  detection.regions = regions = ml_collections.ConfigDict()
  regions.num_samples = 128  # proposed regions of an image in the loss
  regions.positive_share = 0.33  # of them, at most, are objects
  regions.positive = 0.5  # overlap with an object from which a region is one,
  regions.negative = 0.5  # … and below which it is background

  c.optimizer = optimizer = ml_collections.ConfigDict()
  optimizer.name = "adamw"  # adamw or nesterov
  optimizer.learning_rate = 1e-3  # the peak
  optimizer.schedule = "cosine"  # constant, cosine or step
  optimizer.warmup = 0.03  # share of the run with a rising rate
  optimizer.milestones = ()  # step schedule: shares of the run at which the rate falls
  optimizer.factor = 0.1  # step schedule: what the rate is multiplied by
  optimizer.weight_decay = 0.05  # on kernels alone
  optimizer.momentum = 0.9  # Nesterov's momentum, Adam's first decay rate
  optimizer.b2 = 0.999  # Adam's second decay rate
  optimizer.clip = 1.0  # largest norm of the gradient; 0: no limit
  optimizer.frozen = ()  # stages that stay as they are with their batch norms, ("stem", "stage1") for instance
  optimizer.frozen_norms = False  # the running moments of all batch norms stay, those of trained stages too
  # The rate times this for each stage further from the output: the head has the rate, the last stage this times it.
  optimizer.layer_decay = 1.0

  c.train = train = ml_collections.ConfigDict()
  train.batch_size = 64  # over all devices
  train.epochs = 100.0  # passes over the training split
  train.steps = 0  # length in steps instead, where not 0
  train.steps_per_call = 0  # steps compiled into one call; 0: 16 on GPU and TPU, 1 on CPU
  train.ema = 0.99  # decay of the averaged parameters that are evaluated; 0: none
  train.log_every = 20  # steps between rows of metrics.csv
  train.eval_every = 0.1  # share of the run between evaluations
  train.checkpoint_minutes = 10.0  # a checkpoint at each evaluation, and after so many minutes
  train.keep = 2  # latest checkpoints kept, besides the best
  train.patience = 0  # evaluations without a better result before the run stops early; 0: never

  c.eval = evaluation = ml_collections.ConfigDict()
  evaluation.batch_size = 64  # over all devices
  evaluation.checkpoint = "latest"  # what the final evaluation uses: latest or best
  evaluation.rotations = 4  # test-time views: rotations by equal parts of a turn,
  evaluation.flips = True  # … times mirrored or not,
  evaluation.zooms = (1.0,)  # … times zooms

  # A run without real data (data.source='auto') is this config with these keys changed; keys that the command line sets
  # stay. With data.source='simulated' the part `data` alone is taken, to have something to evaluate on.
  c.simulated = simulated = ml_collections.ConfigDict()
  simulated.data = ml_collections.ConfigDict()
  simulated.data.builder = "galaxy_sim/demo"  # built in a minute, without a download
  simulated.data.train = "train"
  simulated.data.eval = "validation"
  simulated.data.test = "test"
  simulated.data.target = "vote_fractions"
  simulated.data.label = "five_class"  # or ten_class, or kind
  simulated.train = ml_collections.ConfigDict()
  simulated.train.epochs = 20.0

  # Where pretrain.train.steps is not 0, a run of its own in WORKDIR/pretraining comes first: this config with these
  # keys changed. Its evaluated parameters are where the run itself starts from.
  c.pretrain = pretrain = ml_collections.ConfigDict()
  pretrain.data = ml_collections.ConfigDict()
  pretrain.data.source = "simulated"
  pretrain.train = ml_collections.ConfigDict()
  pretrain.train.steps = 0  # 0: no pre-training
  pretrain.eval = ml_collections.ConfigDict()
  pretrain.eval.checkpoint = "latest"  # with whose parameters the run starts: latest or best

  # What python -m galaxy_jax.search tries: nested like the config, with one of ("uniform", lowest, highest),
  # ("log", lowest, highest) and ("choice", value, value, …) for a key; of a key that is a whole number, whole ones.
  c.search = ml_collections.ConfigDict()
  return c


def small(c: ml_collections.ConfigDict, *, from_package: bool = True) -> None:
  """Changes the config to the small network for two processor cores, on images in Galaxy Zoo's frame of 424 pixels.

  With `from_package` it starts from the model that comes with the package, which has seen simulated galaxies alone.
  Small steps near that start are best, and their average over many epochs is better than any of them.
  """
  c.data.crop, c.data.size = 384, 144
  c.augment.size, c.augment.view = 96, 2 / 3
  c.model.name, c.model.options = "resnet18", {"width": 32, "dropout": 0.3}
  c.train.batch_size = 32
  if from_package:
    c.init_from, c.optimizer.learning_rate, c.train.ema = "simulated-gz2", 3e-4, 0.998


def best_of_classes(c: ml_collections.ConfigDict) -> None:
  """Changes a config of classes in Galaxy Zoo's frame to what we would take on the hardware that its variant names.

  `gpu` fine-tunes the vision transformer of DINOv2, which has seen no galaxy's label; `cpu` the package's model.
  """
  c.loss.name, c.loss.label_smoothing = "cross_entropy", 0.1
  if c.variant.endswith("cpu"):
    small(c)
    c.train.epochs = 60.0
  else:
    c.data.crop, c.data.size = 384, 300
    c.augment.size, c.augment.view, c.augment.normalise = 224, 0.7, "imagenet"
    c.model.name, c.model.pretrained = "dinov2_base", "timm/vit_base_patch14_dinov2.lvd142m"
    c.model.options.dropout = 0.1
    c.optimizer.learning_rate, c.optimizer.layer_decay = 2e-4, 0.75
    c.train.batch_size, c.train.epochs, c.train.ema = 128, 20.0, 0.999


def choose(variant: str, variants: tuple[str, ...]) -> str:
  """The variant asked for, or, without one, `cpu` or `gpu` by the hardware that jax finds; "" where there are none.

  Raises:
    ValueError: an unknown variant.
  """
  if not variants:
    if variant:
      raise ValueError(f"The config's argument is {variant!r}, but this one has no variants: leave out the colon and "
                       "what follows.")
    return ""
  if not variant:
    import jax  # configs are read by tools that have no accelerator to ask for
    variant = "cpu" if jax.default_backend() == "cpu" else "gpu"
  if variant not in variants:
    raise ValueError(f"The config's argument is {variant!r}; expected one of {', '.join(variants)}.")
  return variant
