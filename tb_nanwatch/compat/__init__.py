# SPDX-License-Identifier: Apache-2.0
"""Every private name of Keras and its backends, KerasTuner and TensorBoard that is used.

Private names may go with any release. They are looked up when they are needed, never at
import; a missing name costs one feature and gives one warning. Public names are used where
they are needed; a test holds that no private one is used outside of this room.

    names.py        looks up private names, and warns where one is missing
    versions.py     the versions that were tested
    keras.py, tensorflow.py, torch.py, jax.py, kerastuner.py, tensorboard.py
                    the names, each behind a function that says its purpose
"""
