# SPDX-License-Identifier: Apache-2.0
"""The writing side: what runs inside the training process."""
