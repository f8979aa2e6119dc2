# SPDX-License-Identifier: Apache-2.0
"""From the facts of one run to ranked causes and an answer; pure."""
