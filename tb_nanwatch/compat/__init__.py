# SPDX-License-Identifier: Apache-2.0
"""Every private name of Keras, TensorFlow, KerasTuner and TensorBoard that is used.

Private names may go with any release. They are looked up when they are needed, never at
import; what is missing is one warning and one feature less. Public names are used where
they are needed; a test holds that no private one is used outside of this room.

    names.py        what a private name is, and what happens where it is missing
    versions.py     the versions that were tested
    keras.py, tensorflow.py, kerastuner.py, tensorboard.py
                    the names, each behind a function that says what it is for
"""
