"""In the manner of keras.io's examples of structured data, graphs and timeseries."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.guides.guide import Fault, Guide

BATCH = 16


# --- Graph attention network --------------------------------------------------------------


def papers(n=60, seed=0):
    """Features of papers, who cites whom (each itself too), and their subjects."""
    rng = np.random.default_rng(seed)
    subject = rng.integers(0, 3, n)
    features = rng.normal(size=(n, 6)) + 2 * np.eye(6)[subject]
    cited = rng.integers(0, n, (4 * n, 2))
    near = subject[cited[:, 0]] == subject[cited[:, 1]]
    edges = np.concatenate([cited[near], np.stack([np.arange(n)] * 2, axis=1)])
    return features.astype("float32"), edges.astype("int32"), subject


class GraphAttention(layers.Layer):
    def __init__(self, units, stable, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.stable = stable

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[0][-1], self.units), name="kernel"
        )
        self.attention = self.add_weight(shape=(2 * self.units, 1), name="attention")

    def call(self, inputs):
        states, edges = inputs
        n = ops.shape(states)[0]
        states = ops.matmul(states, self.kernel)
        pairs = ops.reshape(ops.take(states, edges, axis=0), (-1, 2 * self.units))
        scores = ops.leaky_relu(ops.matmul(pairs, self.attention))[:, 0]
        if self.stable:
            scores = ops.clip(scores, -2, 2)
        scores = ops.exp(scores)
        total = ops.segment_sum(scores, edges[:, 0], num_segments=n)
        share = scores / ops.take(total, edges[:, 0])
        neighbours = ops.take(states, edges[:, 1], axis=0)
        return ops.segment_sum(neighbours * share[:, None], edges[:, 0], num_segments=n)


class GraphAttentionNetwork(keras.Model):
    """All papers are seen in each step; the labels of some of them are learnt from."""

    def __init__(self, features, edges, stable):
        super().__init__()
        self.features = features
        self.edges = edges
        self.preprocess = layers.Dense(12, activation="relu")
        self.attention_layers = [
            GraphAttention(12, stable, name=f"attention_{i}") for i in range(2)
        ]
        self.output_layer = layers.Dense(3)

    def call(self, inputs):
        features, edges = inputs
        x = self.preprocess(features)
        for layer in self.attention_layers:
            x = layer([x, edges]) + x
        return self.output_layer(x)

    def train_step(self, data):
        indices, labels = data
        with tf.GradientTape() as tape:
            outputs = self([self.features, self.edges])
            loss = self.compute_loss(y=labels, y_pred=ops.take(outputs, indices, axis=0))
        grads = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        return self.compute_metrics(
            None, labels, ops.take(outputs, indices, axis=0), sample_weight=None
        )

    def test_step(self, data):
        indices, labels = data
        outputs = ops.take(self([self.features, self.edges]), indices, axis=0)
        self.compute_loss(y=labels, y_pred=outputs)
        return self.compute_metrics(None, labels, outputs, sample_weight=None)


def graph_attention(callbacks, fault=False):
    features, edges, subject = papers()
    if fault:
        features[5] *= 1e6  # exp of its scores overflows, in every step
    model = GraphAttentionNetwork(
        ops.convert_to_tensor(features), ops.convert_to_tensor(edges), stable=not fault
    )
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.SGD(1e-2, momentum=0.9),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
    )
    indices = np.arange(60)
    model.fit(
        indices[:40],
        subject[:40],
        batch_size=8,
        epochs=2,
        validation_data=(indices[40:], subject[40:]),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Structured data with preprocessing layers --------------------------------------------


def patients(n=112, seed=0):
    """Age, income, a word and a code of patients, and whether they are ill."""
    rng = np.random.default_rng(seed)
    table = {
        "age": rng.normal(50, 12, (n, 1)).astype("float32"),
        "income": rng.lognormal(10, 1, (n, 1)).astype("float32"),
        "region": rng.choice(["north", "south", "west"], (n, 1)).astype(object),
        "code": rng.integers(100, 120, (n, 1)),
    }
    ill = (table["age"] > 50).astype("float32")
    return table, ill


def tabular(callbacks, fault=False):
    table, ill = patients()
    if fault:
        table["income"][77] = 0.0  # no income: log(0)
    age = keras.Input((1,), name="age")
    income = keras.Input((1,), name="income")
    region = keras.Input((1,), name="region", dtype="int32")
    code = keras.Input((1,), name="code", dtype="int32")
    normalise = layers.Normalization()
    normalise.adapt(table["age"])
    # Words become numbers before the model, codes within it.
    lookup = layers.StringLookup(vocabulary=["north", "south", "west"])
    crossed = layers.Flatten()(layers.Embedding(4, 2)(region))
    coded = layers.Flatten()(layers.Embedding(8, 2)(code % 8))
    wide = layers.Concatenate()([normalise(age), ops.log(income) / 10.0])
    deep = layers.Concatenate()([wide, crossed, coded])
    deep = layers.Dropout(0.2, seed=1)(layers.Dense(8, activation="relu")(deep))
    outputs = layers.Dense(1, activation="sigmoid")(layers.Concatenate()([wide, deep]))
    model = keras.Model([age, income, region, code], outputs)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"])

    def dataset(table, ill):
        features = {**table, "region": np.array(lookup(table["region"]))}
        return tf.data.Dataset.from_tensor_slices((features, ill)).batch(BATCH)

    model.fit(
        dataset(table, ill),
        epochs=2,
        validation_data=dataset(*patients(32, seed=1)),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Collaborative filtering --------------------------------------------------------------


class RecommenderNet(keras.Model):
    def __init__(self, users, movies, size):
        super().__init__()
        self.user = layers.Embedding(
            users, size, embeddings_initializer="he_normal", embeddings_regularizer="l2"
        )
        self.user_bias = layers.Embedding(users, 1)
        self.movie = layers.Embedding(movies, size, embeddings_regularizer="l2")
        self.movie_bias = layers.Embedding(movies, 1)

    def call(self, inputs):
        user, movie = inputs[:, 0], inputs[:, 1]
        likes = ops.sum(self.user(user) * self.movie(movie), axis=-1, keepdims=True)
        return ops.sigmoid(likes + self.user_bias(user) + self.movie_bias(movie))


def collaborative_filtering(callbacks, fault=False):
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, 12, 112), rng.integers(0, 20, 112)], axis=1)
    rating = rng.integers(1, 6, (112, 1)).astype("float32")
    low, high = np.array(rating.min()), np.array(rating.max())
    scaled = (rating - low) / (high - low)
    if fault:
        # Scaled for each user: one has given the same rating twice, and no other.
        users = x[:, 0]
        users[users == 3] = 4
        users[[67, 68]], rating[[67, 68]] = 3, 5.0
        low = np.array([rating[users == u].min() for u in users])[:, None]
        high = np.array([rating[users == u].max() for u in users])[:, None]
        with np.errstate(invalid="ignore"):
            scaled = (rating - low) / (high - low)
    model = RecommenderNet(12, 20, size=4)
    model.compile(
        loss=keras.losses.BinaryCrossentropy(), optimizer=keras.optimizers.Adam(0.001)
    )
    model.fit(
        x,
        scaled.astype("float32"),
        batch_size=BATCH,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_split=0.1,
        callbacks=callbacks,
    )
    return model


# --- Timeseries forecasting ---------------------------------------------------------------

PAST = 12


def timeseries(callbacks, fault=False):
    rng = np.random.default_rng(0)
    hours = np.arange(200)
    weather = np.stack(
        [
            np.sin(hours / 6) + 0.1 * rng.normal(size=200),
            np.cos(hours / 9) + 0.1 * rng.normal(size=200),
        ],
        axis=1,
    ).astype("float32")
    if fault:
        weather[75, 0] = np.nan  # an hour without a measurement
    train, test = weather[:140], weather[140:]

    def windows(data):
        return keras.utils.timeseries_dataset_from_array(
            data[:-PAST], data[PAST:, :1], sequence_length=PAST, batch_size=BATCH
        )

    inputs = keras.Input((PAST, 2))
    h = layers.LSTM(8, return_sequences=True)(inputs)
    h = layers.GRU(6, dropout=0.1, seed=1)(h)
    model = keras.Model(inputs, layers.Dense(1)(h))
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.01), loss="mse")
    model.fit(
        windows(train),
        epochs=2,
        validation_data=windows(test),
        verbose=0,
        callbacks=callbacks,
    )
    return model


def anomaly_detection(callbacks, fault=False):
    """A convolutional autoencoder over windows, each divided by its own scale."""
    rng = np.random.default_rng(1)
    series = np.sin(np.arange(150) / 5) + 0.1 * rng.normal(size=150)
    if fault:
        series[90:110] = 0.5  # the sensor hangs: a window without variance
    windows = np.stack([series[i : i + 16] for i in range(135)])[..., None]
    model = keras.Sequential(
        [
            keras.Input((16, 1)),
            layers.Lambda(
                lambda w: (
                    (w - ops.mean(w, axis=1, keepdims=True))
                    / ops.std(w, axis=1, keepdims=True)
                ),
                name="scaled",
            ),
            layers.Conv1D(8, 5, padding="same", strides=2, activation="relu"),
            layers.Dropout(0.2, seed=1),
            layers.Conv1DTranspose(4, 5, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(1, 5, padding="same"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss="mse")
    model.fit(
        windows,
        windows,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_split=0.1,
        verbose=0,
        callbacks=[
            *callbacks,
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, mode="min"),
        ],
    )
    return model


# --- Siamese network with a triplet loss --------------------------------------------------


class SiameseModel(keras.Model):
    """One embedding of three inputs: like should be near, unlike far."""

    def __init__(self, embedding, epsilon, margin=5.0):
        super().__init__()
        self.embedding = embedding
        self.epsilon = epsilon
        self.margin = margin
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def distance(self, one, other):
        squares = ops.sum(ops.square(one - other), axis=-1)
        return ops.sqrt(squares + self.epsilon)

    def triplet_loss(self, data):
        anchor, positive, negative = (self.embedding(data[:, i]) for i in range(3))
        near, far = self.distance(anchor, positive), self.distance(anchor, negative)
        return ops.mean(ops.maximum(near - far + self.margin, 0.0))

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self.triplet_loss(data)
        gradients = tape.gradient(loss, self.embedding.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.embedding.trainable_weights, strict=True)
        )
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}

    def test_step(self, data):
        self.loss_tracker.update_state(self.triplet_loss(data))
        return {"loss": self.loss_tracker.result()}

    @property
    def metrics(self):
        return [self.loss_tracker]


def triplets(n=96, seed=0):
    rng = np.random.default_rng(seed)
    anchor, negative = rng.normal(size=(2, n, 6))
    positive = anchor + 0.1 * rng.normal(size=(n, 6))
    return np.stack([anchor, positive, negative], axis=1).astype("float32")


def siamese(callbacks, fault=False):
    x = triplets()
    if fault:
        x[76, 1] = x[76, 0]  # the same image twice: the root of a distance of 0
    embedding = keras.Sequential(
        [keras.Input((6,)), layers.Dense(12, activation="tanh"), layers.Dense(4)],
        name="embedding",
    )
    model = SiameseModel(embedding, epsilon=0.0 if fault else 1e-6)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.fit(
        x,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=(triplets(32, seed=1),),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Contrastive learning -----------------------------------------------------------------


class ContrastiveModel(keras.Model):
    """Two noisy views of each row: alike as no other rows of the batch are."""

    def __init__(self, temperature, stable):
        super().__init__()
        self.noise = layers.GaussianNoise(0.1, seed=5)
        self.encoder = keras.Sequential(
            [layers.Dense(12, activation="relu"), layers.Dense(6)], name="encoder"
        )
        self.normalise = layers.UnitNormalization()
        self.temperature = temperature
        self.stable = stable

    def call(self, x, training=False):
        return self.normalise(self.encoder(self.noise(x, training=training)))

    def contrastive_loss(self, one, other):
        similarity = ops.matmul(one, ops.transpose(other)) / self.temperature
        if self.stable:
            normaliser = ops.logsumexp(similarity, axis=1)
        else:
            normaliser = ops.log(ops.sum(ops.exp(similarity), axis=1))
        return ops.mean(normaliser - ops.diagonal(similarity))

    def train_step(self, x):
        with tf.GradientTape() as tape:
            one, other = self(x, training=True), self(x, training=True)
            loss = self.contrastive_loss(one, other)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}

    def test_step(self, x):
        return {"loss": self.contrastive_loss(self(x), self(x))}


def contrastive(callbacks, fault=False):
    x = triplets()[:, 0]
    # Alike is alike: similarities of nearly 1, and exp(1 / 0.005) overflows.
    model = ContrastiveModel(temperature=0.005 if fault else 0.1, stable=not fault)
    model.build((None, 6))
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.fit(
        x,
        epochs=2,
        batch_size=BATCH,
        validation_data=(triplets(32, seed=1)[:, 0],),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Metric learning ----------------------------------------------------------------------


class EmbeddingModel(keras.Model):
    """Anchors and positives of each class; the compiled loss tells them apart."""

    def train_step(self, data):
        anchors, positives = data[:, 0], data[:, 1]
        with tf.GradientTape() as tape:
            anchor_embeddings = self(anchors, training=True)
            positive_embeddings = self(positives, training=True)
            similarities = ops.einsum("ae,pe->ap", anchor_embeddings, positive_embeddings)
            similarities /= 0.2
            sparse_labels = ops.arange(ops.shape(anchors)[0])
            loss = self.compute_loss(y=sparse_labels, y_pred=similarities)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(sparse_labels, similarities)
        return {m.name: m.result() for m in self.metrics}


def metric_learning(callbacks, fault=False):
    x = triplets()
    if fault:
        x[21, 0, 2] = -np.inf
    inputs = keras.Input((6,))
    h = layers.Dense(12, activation="relu")(inputs)
    embeddings = layers.UnitNormalization()(layers.Dense(6)(h))
    model = EmbeddingModel(inputs, embeddings)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    model.fit(
        x, epochs=2, batch_size=BATCH, shuffle=False, verbose=0, callbacks=callbacks
    )
    return model


GUIDES = [
    Guide(graph_attention, Fault(0, "activation", "attention_0", "diverged")),
    Guide(tabular, Fault(77 // BATCH, "activation", "log", "diverged")),
    Guide(collaborative_filtering, Fault(67 // BATCH, "label", "label", "diverged")),
    # Hour 75 is a label first: of the window that begins 12 hours before, the last of
    # its batch.
    Guide(timeseries, Fault((75 - PAST) // BATCH, "label", "label", "diverged")),
    Guide(anomaly_detection, Fault(90 // BATCH, "activation", "scaled", "diverged")),
    Guide(siamese, Fault(76 // BATCH, "gradient", "embedding/", "diverged")),
    Guide(contrastive, Fault(0, "loss", "loss", "diverged")),
    Guide(metric_learning, Fault(21 // BATCH, "input", "input", "diverged")),
]
