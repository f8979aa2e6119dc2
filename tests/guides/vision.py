"""In the manner of keras.io's examples of computer vision."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.guides.guide import Fault, Guide

BATCH = 16


def shapes(n=96, size=8, seed=0):
    """Images of a bar that lies (0) or stands (1), where the bar is, and which it is."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    images = rng.normal(0, 0.1, (n, size, size, 1)).astype("float32")
    mask = np.zeros((n, size, size, 1), "float32")
    for i in range(n):
        row, column = rng.integers(0, size - 3, 2)
        if kind[i]:
            mask[i, row : row + 4, column] = 1.0
        else:
            mask[i, row, column : column + 4] = 1.0
    return images + mask, mask, kind


# --- Vision Transformer -------------------------------------------------------------------


class Patches(layers.Layer):
    def __init__(self, patch_size):
        super().__init__()
        self.patch_size = patch_size

    def call(self, images):
        patches = ops.image.extract_patches(images, self.patch_size)
        return ops.reshape(patches, (-1, 16, self.patch_size**2))


class PatchEncoder(layers.Layer):
    def __init__(self, num_patches, projection_dim):
        super().__init__()
        self.num_patches = num_patches
        self.projection = layers.Dense(projection_dim)
        self.position_embedding = layers.Embedding(num_patches, projection_dim)

    def call(self, patches):
        positions = ops.expand_dims(ops.arange(self.num_patches), axis=0)
        return self.projection(patches) + self.position_embedding(positions)


class WarmUpAndDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in 3 steps, then falls as a root that ends at `total` steps."""

    def __init__(self, rate, total):
        self.rate = rate
        self.total = total

    def __call__(self, step):
        step = ops.cast(step, "float32")
        return self.rate * ops.minimum(
            (step + 1.0) / 3.0, ops.sqrt((self.total - step) / self.total)
        )


def vision_transformer(callbacks, fault=False):
    x, _, y = shapes()
    augmentation = keras.Sequential(
        [layers.RandomTranslation(0.1, 0.1, seed=1), layers.RandomRotation(0.02, seed=2)],
        name="augmentation",
    )
    inputs = keras.Input((8, 8, 1))
    encoded = PatchEncoder(16, 8)(Patches(2)(augmentation(inputs)))
    for _ in range(1):
        x1 = layers.LayerNormalization(epsilon=1e-6)(encoded)
        attention = layers.MultiHeadAttention(num_heads=2, key_dim=4, dropout=0.1, seed=3)
        x2 = layers.Add()([attention(x1, x1), encoded])
        x3 = layers.LayerNormalization(epsilon=1e-6)(x2)
        x3 = layers.Dense(16, activation="gelu")(x3)
        x3 = layers.Dropout(0.1, seed=4)(layers.Dense(8, activation="gelu")(x3))
        encoded = layers.Add()([x3, x2])
    representation = layers.LayerNormalization(epsilon=1e-6)(encoded)
    representation = layers.Dropout(0.2, seed=5)(layers.Flatten()(representation))
    model = keras.Model(inputs, layers.Dense(2)(representation))
    # The schedule ends too early: the root of a negative number in step 9.
    rate = WarmUpAndDecay(1e-3, total=8.0 if fault else 20.0)
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        validation_split=0.2,
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- U-Net --------------------------------------------------------------------------------


def make_unet(classes):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    previous = x
    x = layers.SeparableConv2D(12, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(layers.Activation("relu")(x))
    residual = layers.Conv2D(12, 1, strides=2, padding="same")(previous)
    x = layers.add([x, residual])
    x = layers.Conv2DTranspose(8, 3, padding="same")(layers.Activation("relu")(x))
    x = layers.UpSampling2D(2)(layers.BatchNormalization()(x))
    x = layers.Concatenate()([x, previous])
    outputs = layers.Conv2D(classes, 3, padding="same", name="mask")(x)
    return keras.Model(inputs, outputs)


def balanced_crossentropy(y_true, y_pred):
    """Of each image, shape and background count alike."""
    pixels = keras.losses.binary_crossentropy(y_true, y_pred, from_logits=True)
    y_true = y_true[..., 0]
    shape = ops.mean(y_true, axis=(1, 2), keepdims=True)
    weight = y_true / shape + (1 - y_true) / (1 - shape)
    return ops.mean(weight * pixels)


def u_net(callbacks, fault=False):
    x, mask, _ = shapes()
    if fault:
        mask[52] = 0.0  # an image without a shape
    model = make_unet(classes=1)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=balanced_crossentropy)
    model.fit(
        x,
        mask,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=shapes(32, seed=1)[:2],
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Next-frame prediction with a ConvLSTM ------------------------------------------------


def moving_dots(n=48, seed=0):
    """Six frames of a dot that moves over an image of 6 by 6 pixels."""
    rng = np.random.default_rng(seed)
    frames = np.zeros((n, 7, 6, 6, 1), "float32")
    for i in range(n):
        row, column = rng.integers(0, 6, 2)
        down, right = rng.integers(-1, 2, 2)
        for t in range(7):
            frames[i, t, (row + t * down) % 6, (column + t * right) % 6] = 1.0
    return frames[:, :-1], frames[:, 1:]


def conv_lstm(callbacks, fault=False):
    x, y = moving_dots()
    if fault:
        x[29, 4] = np.nan  # a frame that was lost
    inputs = keras.Input((None, 6, 6, 1))
    h = layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True)(inputs)
    h = layers.BatchNormalization()(h)
    h = layers.ConvLSTM2D(4, 1, padding="same", return_sequences=True)(h)
    outputs = layers.Conv3D(1, 3, activation="sigmoid", padding="same")(h)
    model = keras.Model(inputs, outputs)
    model.compile(
        loss=keras.losses.BinaryCrossentropy(), optimizer=keras.optimizers.Adam()
    )
    model.fit(
        x,
        y,
        batch_size=8,
        epochs=2,
        shuffle=False,
        validation_data=moving_dots(16, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- MixUp, and augmentation within the model ---------------------------------------------


def brighten(image, label):
    """The brightest pixel becomes 1."""
    return image / tf.reduce_max(image), label


def mix_up(first, second, alpha=0.2):
    """Pairs of images and labels, mixed by a share that is beta distributed."""
    (images_1, labels_1), (images_2, labels_2) = first, second
    n = tf.shape(images_1)[0]
    one = tf.random.stateless_gamma([n], seed=(1, 2), alpha=alpha)
    two = tf.random.stateless_gamma([n], seed=(3, 4), alpha=alpha)
    share = one / (one + two)
    x, y = tf.reshape(share, (-1, 1, 1, 1)), tf.reshape(share, (-1, 1))
    return images_1 * x + images_2 * (1 - x), labels_1 * y + labels_2 * (1 - y)


def mixup(callbacks, fault=False):
    x, _, y = shapes()
    if fault:
        x[70] = 0.0  # a black image has no brightest pixel
    labels = keras.utils.to_categorical(y, 2).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((x, labels)).map(brighten).batch(BATCH)
    mixed = tf.data.Dataset.zip((batches, batches.skip(1))).map(mix_up)  # with the next
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.RandomFlip("horizontal", seed=1),
            layers.RandomZoom(0.1, seed=2),
            layers.RandomContrast(0.1, seed=3),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        optimizer="adam",
        metrics=["accuracy"],
    )
    test_x, _, test_y = shapes(32, seed=1)
    model.fit(
        mixed,
        epochs=2,
        validation_data=(test_x, keras.utils.to_categorical(test_y, 2)),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Residual network ---------------------------------------------------------------------


class StochasticDepth(layers.Layer):
    """Leaves out a residual branch now and then, as ConvNeXt and CCT do."""

    def __init__(self, drop_prob, seed, **kwargs):
        super().__init__(**kwargs)
        self.keep_prob = 1 - drop_prob
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=None):
        if not training:
            return x
        keep = self.keep_prob + keras.random.uniform(
            (ops.shape(x)[0], 1, 1, 1), seed=self.seed_generator
        )
        return x / self.keep_prob * ops.floor(keep)


def residual_network(callbacks, fault=False):
    x, _, y = shapes()
    # Deeper branches are left out more often; the last of them always, at 1.0.
    drops = np.linspace(0.0, 1.0 if fault else 0.1, 2)
    inputs = keras.Input((8, 8, 1))
    h = layers.Conv2D(8, 3, padding="same")(inputs)
    for i, drop in enumerate(drops):
        branch = layers.DepthwiseConv2D(3, padding="same")(h)
        branch = layers.LayerNormalization(epsilon=1e-6)(branch)
        branch = layers.Conv2D(16, 1, activation="gelu")(branch)
        branch = layers.Conv2D(8, 1)(branch)
        branch = StochasticDepth(drop, seed=i, name=f"depth_{i}")(branch)
        h = layers.Add()([h, branch])
    h = layers.GlobalAveragePooling2D()(h)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(h))
    model.compile(
        optimizer=keras.optimizers.SGD(1e-2, momentum=0.9, use_ema=True),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=shapes(32, seed=1)[::2],
        verbose=0,
        callbacks=callbacks,
    )
    return model


GUIDES = [
    # 76 rows are trained on, 5 steps an epoch: step 9 is the last of the second epoch.
    Guide(vision_transformer, Fault(9, "weight", "", "diverged")),
    Guide(u_net, Fault(52 // BATCH, "loss", "mask", "diverged")),
    Guide(conv_lstm, Fault(29 // 8, "input", "input", "diverged")),
    Guide(mixup, Fault(70 // BATCH - 1, "input", "input", "diverged")),
    Guide(residual_network, Fault(0, "activation", "depth_1", "diverged")),
]
