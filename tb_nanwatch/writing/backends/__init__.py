# SPDX-License-Identifier: Apache-2.0
"""The backends of Keras that can be watched: all that depends on one of them.

The writing side sees them through `interface.py` alone, and imports that of the backend
that Keras runs on when it is needed: no other backend's package is ever imported.

    interface.py   what a backend gives
    chosen.py      the backend that Keras runs on
    kept.py        a step that was kept, so that it can be run again
    names.py       what is in a model, and what its parts are called
    hooks.py       wrappers in front of methods, and their removal
    fits.py        the fits that are watched, and whose call it is
    parts.py       hooks on what a step is made of
    base.py        what the instruments of all backends do alike
    one_step.py    one step with its parts hooked, for TensorFlow and PyTorch
    apart.py       what goes wrong in watching, kept apart from the training
    afterwards.py  a bad training run again, told and tried once it is over
    batches.py     the batches of the last steps
    seen.py        what is seen of a step that is run again
    silent.py      an observer of a step of which nobody is told
    tracing.py     the tensors met while a step is traced, or run
    tensorflow/    a package each
    torch/
    jax/
"""
