# SPDX-License-Identifier: Apache-2.0
"""Finds, before a search, the frontier between stable values and values that go bad.

`coordinates`, `model`, `frontier`, `design` and `space` are pure; `oracle`, `trial` and
`tuner` know Keras and KerasTuner. docs/stability.md says why it works as it does.
"""
