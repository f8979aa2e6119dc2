"""Embeddings of easy classes with an additive angular margin, whose sine is a root of 1 - cos ** 2.

Source: ktjonsson/keras-ArcFace, issue 2 (as ronghuaiyang/arcface-pytorch, issues 32 and 91):
loss and accuracy get better fast, then the loss is NaN. Reason: an embedding that lies on its
class' center has a cosine of 1, where the root's derivative is infinite, or a little more than
1 by rounding. Answer: clip 1 - cos ** 2 from below.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from tb_nanwatch import NanWatch

EXPECT = {
    "status": ["diverged"],
    "phase": "train",
    "step": 60,
    "operation": ["tf.math.sqrt"],
    "line_text": "ops.sqrt(",
    "chain": ["got the argument", "tf.math.subtract"],
    "causes": ["layer_domain"],
    "never": ["nonfinite_data", "unscaled_inputs", "label_range", "outlier_data"],
    "fix": "1 - cos ** 2 clipped from below",
}


class ArcMargin(layers.Layer):
    def __init__(self, classes, least, **options):
        super().__init__(**options)
        self.classes, self.least = classes, least

    def build(self, shapes):
        self.centers = self.add_weight((shapes[0][-1], self.classes), "glorot_uniform")

    def call(self, inputs):
        embedding, label = inputs
        embedding = ops.normalize(embedding, axis=1)
        cosine = ops.matmul(embedding, ops.normalize(self.centers, axis=0))
        rest = 1.0 - ops.square(cosine)
        if self.least:
            rest = ops.clip(rest, self.least, 1.0)
        sine = ops.sqrt(rest)
        moved = cosine * np.cos(0.5) - sine * np.sin(0.5)
        return ops.softmax(30.0 * ops.where(label > 0.0, moved, cosine))


def main(logs, fixed=False):
    keras.utils.set_random_seed(54)
    rng = np.random.default_rng(54)
    kind = rng.integers(0, 4, 640)
    label = np.eye(4, dtype="float32")[kind]
    x = (label @ rng.normal(size=(4, 10)) * 2.0).astype("float32")
    x += 0.01 * rng.normal(size=x.shape).astype("float32")
    image, given = keras.Input((10,)), keras.Input((4,))
    hidden = layers.Dense(32, activation="relu")(image)
    embedding = layers.Dense(2)(hidden)
    model = keras.Model(
        [image, given], ArcMargin(4, 1e-7 if fixed else 0.0)([embedding, given])
    )
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy")
    return model.fit(
        [x, label],
        label,
        batch_size=32,
        epochs=20,
        verbose=0,
        callbacks=[NanWatch(logs)] if logs else [],
    ).history


if __name__ == "__main__":
    main(sys.argv[1], "fixed" in sys.argv[2:])
