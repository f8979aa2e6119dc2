# SPDX-License-Identifier: Apache-2.0
"""All that is known of a KerasTuner search in the process that trains."""
