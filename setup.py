"""Packaging of galaxy_jax; tool settings are in pyproject.toml."""
import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "galaxy_jax/__init__.py").read_text())[1]

EXTRAS = {
    "annotate": ["sep"],
    "cuda": ["jax[cuda13]"],
    "tpu": ["jax[tpu]"],
    "kaggle": ["kaggle"],
    "tf": ["tensorflow"],
    "bench": ["scikit-learn", "scipy"],
    "galaxy10": ["h5py"],
    "masks": ["pycocotools"],
    "pretrained": ["huggingface_hub", "safetensors"],
    "scale": ["apache-beam"],
    "search": ["optuna>=4"],
    "serve": ["flask>=3", "waitress>=3"],
    "similar": ["scikit-learn"],
    "survey": ["astropy", "scipy"],
    "umap": ["umap-learn"],
    # tensorflow-cpu: the builders are checked against tfds.load and TFDS's own test case.
    "test": ["pytest", "pytest-xdist", "hypothesis", "scipy", "scikit-learn", "pycocotools", "ruff", "import-linter",
             "tensorflow-cpu", "dill", "h5py", "astropy", "apache-beam", "huggingface_hub",
             "optuna>=4", "safetensors", "setuptools", "wheel", "flask>=3", "waitress>=3", "playwright",
             "axe-playwright-python", "openapi-spec-validator", "jsonschema", "nbclient", "ipykernel", "sep"],
}

setup(
    name="galaxy_jax",
    version=VERSION,
    description="Galaxy morphology in JAX: data sets, models, training and answers",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["galaxy_jax*", "tfds_builders*"]),
    include_package_data=False,
    package_data={"galaxy_jax": ["*.html", "serve/static/*", "shipped/*/*"],
                  "tfds_builders": ["*/*.md", "*/*.jpg", "*/*.bib", "*/*.tsv", "*/*.csv", "*/*.txt", "*/dummy_data/*",
                                    "*/dummy_data/*/*"]},
    install_requires=[
        "absl-py",
        "array-record",
        "etils[epath]",
        "flax>=0.12",
        "grain>=0.2.12",
        "importlib_resources",  # TFDS imports it without declaring it
        "jax>=0.10",
        "ml-collections",
        "numpy",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.12",
        "matplotlib",
        "pillow",
        "pyarrow",
        "tensorboardX",
        "tensorflow-datasets>=4.9.10",
        "tqdm",
    ],
    extras_require=EXTRAS,
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Astronomy",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
