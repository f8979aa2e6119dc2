# SPDX-License-Identifier: Apache-2.0
"""The frontier between values that live and values that go bad, found before the search.

`coordinates`, `model`, `frontier`, `design` and `space` are pure; `oracle`, `trial` and
`tuner` know Keras and KerasTuner. docs/stability.md says why it works as it does.
"""
