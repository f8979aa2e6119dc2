# SPDX-License-Identifier: Apache-2.0
"""A search space as code: how a hyperparameter is declared, and what is cut from its range."""
