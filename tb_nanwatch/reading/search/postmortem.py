"""What a post-mortem found, in the words that trials are compared by; pure."""

from __future__ import annotations

from tb_nanwatch.record.schema import PostMortem


def made_by(found: PostMortem | None) -> str | None:
    """Returns operation and place without counts: "`tf.math.divide` at loss.py:12".

    Trials of one search that share it went bad at the same place. None where the
    post-mortem named no operation.
    """
    if found is None or found.op is None:
        return None
    what = f"the gradient of `{found.op}`" if found.gradient else f"`{found.op}`"
    if found.source is not None:
        return f"{what} at {found.source.file}:{found.source.line}"
    if found.layer:
        return f"{what} in the layer {found.layer}"
    return what
