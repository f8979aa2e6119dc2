# SPDX-License-Identifier: Apache-2.0
"""How tb-nanwatch is built and installed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    """Returns `__version__`, read and not imported: a build has no dependencies."""
    text = (HERE / "tb_nanwatch" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError("tb_nanwatch/__init__.py has no __version__ line")
    return match[1]


# Where a release's sources can be read, e.g. https://github.com/OWNER/tb-nanwatch.
REPOSITORY = os.environ.get("NANWATCH_REPOSITORY", "").rstrip("/")


def description() -> str:
    """Returns README as a package index shows it, where a relative link leads nowhere.

    Links lead to the release's files in `REPOSITORY`; without one their words stand
    alone, and pictures are left out.
    """
    text = (HERE / "README.md").read_text(encoding="utf-8")
    relative = r"\((?![a-z]+:|#)([^)\s]+)\)"
    if not REPOSITORY:
        text = re.sub(rf"!\[[^]]*\]{relative}\n?", "", text)
        return re.sub(rf"\[([^]]*)\]{relative}", r"\1", text)
    at = f"v{version()}"
    text = re.sub(rf"(!\[[^]]*\]){relative}", rf"\1({REPOSITORY}/raw/{at}/\2)", text)
    return re.sub(
        rf"(?<!!)(\[[^]]*\]){relative}", rf"\1({REPOSITORY}/blob/{at}/\2)", text
    )


# Lower bounds are the oldest versions that are tested; upper bounds the next major one, so
# that nothing is replaced which works: what is private in these packages may be missing
# (tb_nanwatch/compat), and a version beyond those that were tested is named as training
# begins. `make versions` tries the oldest, the newest and the newest pre-releases.
VIEW = [
    "tensorboard>=2.18,<3",
    "numpy>=1.26,<3",
    "protobuf>=4.25,<8",
    "werkzeug>=3,<4",
    "rich>=13,<16",
]
TRAIN = ["tensorflow>=2.18,<3", "keras>=3.8,<4"]
# scipy and scikit-learn are what KerasTuner's Bayesian search needs and does not
# install by itself; six it imports, and TensorFlow brings it.
SEARCH = ["keras-tuner>=1.4.7,<2", "scipy>=1.11", "scikit-learn>=1.4", "six>=1.16"]
TUNER = [*TRAIN, *SEARCH]
# Keras on another backend, without TensorFlow.
TORCH = ["torch>=2.6,<3", "keras>=3.15,<4", *SEARCH]
JAX = ["jax>=0.10,<1", "keras>=3.15,<4", *SEARCH]
TEST = [
    *TUNER,
    "pytest>=8",
    "pytest-xdist>=3.6",
    "hypothesis>=6",
    "optuna>=4",
    # A server of S3 on this machine, and what reads it.
    "moto[s3]>=5",
    "flask",
    "flask-cors",
    "boto3>=1.34",
    "fsspec",
    "playwright>=1.50",
    # A real kernel for what a training says in a notebook.
    "nbclient>=0.10",
    "ipykernel>=6",
    "build>=1",
    "twine>=5",
    "setuptools",
]
DEV = [*TEST, "ruff", "mypy", "types-protobuf", "wheel"]

setup(
    name="tb-nanwatch",
    version=version(),
    description="Why a KerasTuner search goes NaN: a Keras callback and a TensorBoard tab",
    long_description=description(),
    long_description_content_type="text/markdown",
    project_urls={"Source": REPOSITORY} if REPOSITORY else {},
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    keywords="keras keras-tuner tensorboard nan inf divergence hyperparameters",
    python_requires=">=3.10",
    packages=find_packages(include=["tb_nanwatch", "tb_nanwatch.*"]),
    package_data={
        "tb_nanwatch": ["py.typed", "static/*", "static/**/*", "reading/tab/http_api.md"]
    },
    include_package_data=False,
    zip_safe=False,
    install_requires=VIEW,
    extras_require={
        "train": TRAIN,
        "tuner": TUNER,
        "torch": TORCH,
        "jax": JAX,
        "test": TEST,
        "dev": DEV,
    },
    entry_points={
        "tensorboard_plugins": [
            "nanwatch = tb_nanwatch.reading.tab.loader:NanWatchLoader"
        ],
        "console_scripts": ["tb-nanwatch = tb_nanwatch.reading.cli:main"],
    },
)
