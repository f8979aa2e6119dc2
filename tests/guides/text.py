"""In the manner of keras.io's examples of natural language processing and of audio."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from tests.guides.guide import Fault, Guide

BATCH = 16
VOCABULARY = 20
LENGTH = 8


def reviews(n=96, seed=0):
    """Words from 1 on, padded with 0, and whether more of them are good than bad."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, VOCABULARY, (n, LENGTH))
    for row, length in zip(x, rng.integers(3, LENGTH + 1, n), strict=True):
        row[length:] = 0
    return x, (np.sum(x > 10, axis=1) > np.sum(x > 0, axis=1) / 2).astype("int32")


class TokenAndPositionEmbedding(layers.Layer):
    def __init__(self, length, vocabulary, dim):
        super().__init__()
        self.words = layers.Embedding(vocabulary, dim)
        self.positions = layers.Embedding(length, dim)

    def call(self, x):
        return self.words(x) + self.positions(ops.arange(ops.shape(x)[-1]))


class TransformerBlock(layers.Layer):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.attention = layers.MultiHeadAttention(heads, dim // heads)
        self.dense = keras.Sequential([layers.Dense(hidden, "relu"), layers.Dense(dim)])
        self.norm_1 = layers.LayerNormalization(epsilon=1e-6)
        self.norm_2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout = layers.Dropout(0.1, seed=1)

    def call(self, inputs, training=None):
        attended = self.dropout(self.attention(inputs, inputs), training=training)
        out = self.norm_1(inputs + attended)
        return self.norm_2(out + self.dense(out))


# --- Text classification with a Transformer -----------------------------------------------


class MeanOfWords(layers.Layer):
    """The mean over what is no padding."""

    def call(self, inputs):
        hidden, words = inputs
        mask = ops.cast(words != 0, "float32")[..., None]
        return ops.sum(hidden * mask, axis=1) / ops.sum(mask, axis=1)


def text_transformer(callbacks, fault=False):
    x, y = reviews()
    if fault:
        x[59] = 0  # a review without a word
    inputs = keras.Input((LENGTH,), dtype="int32")
    h = TokenAndPositionEmbedding(LENGTH, VOCABULARY, 8)(inputs)
    h = TransformerBlock(8, heads=2, hidden=8)(h)
    h = MeanOfWords(name="mean_of_words")([h, inputs])
    h = layers.Dense(8, activation="relu")(layers.Dropout(0.1, seed=2)(h))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(h))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=2,
        shuffle=False,
        validation_data=reviews(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Sequence to sequence with a Transformer ----------------------------------------------


def translations(n=96, seed=0):
    """A sentence, and the same backwards between a start (1) and an end (2)."""
    rng = np.random.default_rng(seed)
    source = np.zeros((n, 5), "int32")
    target = np.zeros((n, 7), "int32")
    for i in range(n):
        words = rng.integers(3, VOCABULARY, rng.integers(2, 6))
        source[i, : len(words)] = words
        target[i, : len(words) + 2] = [1, *words[::-1], 2]
    return source, target


class Decoder(layers.Layer):
    def __init__(self, dim):
        super().__init__()
        self.attention_1 = layers.MultiHeadAttention(2, dim // 2)
        self.attention_2 = layers.MultiHeadAttention(2, dim // 2)
        self.norm_1 = layers.LayerNormalization()
        self.norm_2 = layers.LayerNormalization()
        self.add = layers.Add()
        self.supports_masking = True

    def call(self, inputs, mask=None):
        x, encoded = inputs
        target_mask, source_mask = (None, None) if mask is None else mask
        out = self.attention_1(x, x, query_mask=target_mask, use_causal_mask=True)
        out = self.norm_1(self.add([x, out]))
        attended = self.attention_2(
            out, encoded, query_mask=target_mask, key_mask=source_mask
        )
        return self.norm_2(self.add([out, attended]))


def masked_loss(labels, logits):
    """The mean over the words that are no padding."""
    loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    mask = ops.cast(labels != 0, loss.dtype)
    return ops.sum(loss * mask) / ops.sum(mask)


def translation_transformer(callbacks, fault=False):
    source, target = translations()
    if fault:
        target[64:80] = 0  # a whole batch that was never translated
    source_words = keras.Input((None,), dtype="int32", name="source")
    target_words = keras.Input((None,), dtype="int32", name="target")
    encoded = layers.Embedding(VOCABULARY, 8, mask_zero=True)(source_words)
    attended = layers.MultiHeadAttention(2, 4)(encoded, encoded)
    encoded = layers.LayerNormalization()(layers.Add()([encoded, attended]))
    decoded = layers.Embedding(VOCABULARY, 8, mask_zero=True)(target_words)
    decoded = Decoder(8)([decoded, encoded])
    outputs = layers.Dense(VOCABULARY, name="words")(decoded)
    model = keras.Model([source_words, target_words], outputs)
    model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=1.0), loss=masked_loss)
    test_source, test_target = translations(32, seed=1)
    model.fit(
        # Teacher forcing: the words so far are given, the next is asked for.
        {"source": source, "target": target[:, :-1]},
        target[:, 1:],
        batch_size=BATCH,
        epochs=2,
        shuffle=False,
        validation_data=(
            {"source": test_source, "target": test_target[:, :-1]},
            test_target[:, 1:],
        ),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Switch Transformer: a mixture of experts ---------------------------------------------


class Switch(layers.Layer):
    """Sends each word to one of the experts, and asks that all of them be used."""

    def __init__(self, experts, dim, epsilon, **kwargs):
        super().__init__(**kwargs)
        self.router = layers.Dense(experts)
        self.experts = [layers.Dense(dim, activation="relu") for _ in range(experts)]
        self.number = experts
        self.epsilon = epsilon

    def call(self, x):
        probability = ops.softmax(self.router(x), axis=-1)
        chosen = ops.one_hot(ops.argmax(probability, axis=-1), self.number)
        share = ops.mean(chosen, axis=(0, 1))
        wanted = 1.0 / self.number
        # How far the experts' shares of the words are from alike.
        self.add_loss(0.01 * wanted * ops.sum(ops.log(wanted / (share + self.epsilon))))
        outputs = ops.stack([expert(x) for expert in self.experts], axis=-1)
        gate = chosen * ops.max(probability, axis=-1, keepdims=True)
        return ops.sum(outputs * gate[..., None, :], axis=-1)


def switch_transformer(callbacks, fault=False):
    x, y = reviews()
    if fault:
        x[48:64] = 7  # a batch of one word: one expert gets all, the other none
    inputs = keras.Input((LENGTH,), dtype="int32")
    h = layers.Embedding(VOCABULARY, 8)(inputs)
    h = layers.LayerNormalization()(h)
    h = h + Switch(2, 8, epsilon=0.0 if fault else 1e-3, name="switch")(h)
    h = layers.GlobalAveragePooling1D()(h)
    model = keras.Model(inputs, layers.Dense(2)(h))
    model.compile(
        optimizer=keras.optimizers.Adam(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=2,
        shuffle=False,
        validation_data=reviews(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- CTC: reading captchas ----------------------------------------------------------------


def captchas(n=64, seed=0):
    """Strips of 8 columns, each with one of four signs, and the signs without repetition."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 5, (n, 4))
    columns = np.repeat(labels, 2, axis=1)
    x = np.eye(5)[columns] + rng.normal(0, 0.1, (n, 8, 5))
    return x.astype("float32"), labels


class CTCLayer(layers.Layer):
    """Adds the loss; what it is given passes through."""

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        labels, logits = inputs
        n, steps = ops.shape(logits)[0], ops.shape(logits)[1]
        loss = ops.ctc_loss(
            labels,
            logits,
            target_length=ops.sum(ops.cast(labels > 0, "int32"), axis=1),
            output_length=ops.full((n,), steps, dtype="int32"),
            mask_index=0,
        )
        # For each sign that is read; a captcha may be empty.
        lengths = ops.cast(ops.sum(labels > 0, axis=1), "float32")
        self.add_loss(ops.mean(loss / ops.maximum(lengths, self.scale)))
        return logits


def ocr_ctc(callbacks, fault=False):
    images, labels = captchas()
    if fault:
        labels[37] = 0  # nothing to read
    image = keras.Input((8, 5), name="image")
    label = keras.Input((4,), name="label", dtype="int32")
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(image)
    x = layers.Dense(5, name="signs")(x)
    output = CTCLayer(scale=0.0 if fault else 1.0, name="ctc_loss")([label, x])
    model = keras.Model([image, label], output)
    model.compile(optimizer=keras.optimizers.Adam())
    test_images, test_labels = captchas(16, seed=1)
    model.fit(
        {"image": images, "label": labels},
        batch_size=8,
        epochs=2,
        shuffle=False,
        validation_data=({"image": test_images, "label": test_labels},),
        verbose=0,
        callbacks=callbacks,
    )
    return model


def speech_ctc(callbacks, fault=False):
    """The same with the compiled loss, over frames of sound."""
    frames, labels = captchas(seed=2)
    if fault:
        frames[29] = 0.0  # silence: no energy, of which the logarithm is taken
    inputs = keras.Input((8, 5))
    energy = ops.log(ops.square(inputs) + (0.0 if fault else 1e-3))
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(energy)
    x = layers.GRU(6, return_sequences=True)(x)
    model = keras.Model(inputs, layers.Dense(5)(x))
    model.compile(optimizer="adam", loss=keras.losses.CTC())
    model.fit(
        frames,
        labels,
        batch_size=8,
        epochs=2,
        shuffle=False,
        validation_data=captchas(16, seed=3),
        verbose=0,
        callbacks=callbacks,
    )
    return model


GUIDES = [
    Guide(
        text_transformer, Fault(59 // BATCH, "activation", "mean_of_words", "diverged")
    ),
    Guide(translation_transformer, Fault(64 // BATCH, "loss", "words", "diverged")),
    # No gradient leads through the choice of an expert: the weights stay finite.
    Guide(switch_transformer, Fault(48 // BATCH, "loss", "total", "score_lost")),
    Guide(ocr_ctc, Fault(37 // 8, "loss", "total", "diverged")),
    Guide(speech_ctc, Fault(29 // 8, "activation", "log", "diverged")),
]
