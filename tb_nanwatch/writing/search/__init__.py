# SPDX-License-Identifier: Apache-2.0
"""The training process's knowledge of a KerasTuner search."""
