# SPDX-License-Identifier: Apache-2.0
"""The reading side: what runs in TensorBoard and in the command line tool.

Nothing here imports TensorFlow, Keras or the writing side.
"""
