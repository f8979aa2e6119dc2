"""In the manner of keras.io's examples of generative deep learning.

Each program trains and returns its model. With `fault=True` it makes one mistake that
is made in practice; `Fault` says where the first non-finite value must be found.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.guides.guide import Fault, Guide

BATCH = 16


def digits(n=96, seed=0):
    """Blurred strokes between 0 and 1, as images of 8 by 8 pixels."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, 8, 8, 1), "float32")
    for image in images:
        column, height = rng.integers(1, 7), rng.integers(3, 8)
        image[:height, column, 0] = 1.0
        image[height - 1, 1:7, 0] = 0.5
    return np.clip(images + rng.normal(0, 0.02, images.shape), 0, 1).astype("float32")


# --- Generative adversarial network -----------------------------------------------------


def make_discriminator(activation="sigmoid"):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Flatten(),
            layers.Dense(1, activation=activation),
        ],
        name="discriminator",
    )


def make_generator(latent_dim):
    return keras.Sequential(
        [
            keras.Input((latent_dim,)),
            layers.Dense(4 * 4 * 4),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Reshape((4, 4, 4)),
            layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="sigmoid"),
        ],
        name="generator",
    )


def log_loss(labels, predictions):
    """The cross-entropy as it stands in textbooks: a sure prediction is log(0)."""
    likelihood = labels * ops.log(predictions) + (1 - labels) * ops.log(1 - predictions)
    return -ops.mean(likelihood)


class GAN(keras.Model):
    def __init__(self, discriminator, generator, latent_dim):
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.latent_dim = latent_dim
        self.seed_generator = keras.random.SeedGenerator(1337)

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn
        self.d_loss_metric = keras.metrics.Mean(name="d_loss")
        self.g_loss_metric = keras.metrics.Mean(name="g_loss")

    @property
    def metrics(self):
        return [self.d_loss_metric, self.g_loss_metric]

    def draw(self, n):
        return keras.random.normal((n, self.latent_dim), seed=self.seed_generator)

    def train_step(self, real_images):
        batch_size = ops.shape(real_images)[0]
        # The discriminator learns to tell what was generated (1) from what is real (0).
        generated = self.generator(self.draw(batch_size))
        images = ops.concatenate([generated, real_images], axis=0)
        labels = ops.concatenate(
            [ops.ones((batch_size, 1)), ops.zeros((batch_size, 1))], axis=0
        )
        labels += 0.05 * keras.random.uniform(ops.shape(labels), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(images))
        grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply_gradients(
            zip(grads, self.discriminator.trainable_weights, strict=True)
        )
        # The generator learns to be taken for real; the discriminator stays as it is.
        with tf.GradientTape() as tape:
            predictions = self.discriminator(self.generator(self.draw(batch_size)))
            g_loss = self.loss_fn(ops.zeros((batch_size, 1)), predictions)
        grads = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply_gradients(
            zip(grads, self.generator.trainable_weights, strict=True)
        )
        self.d_loss_metric.update_state(d_loss)
        self.g_loss_metric.update_state(g_loss)
        return {
            "d_loss": self.d_loss_metric.result(),
            "g_loss": self.g_loss_metric.result(),
        }


def gan(callbacks, fault=False):
    images = digits()
    if fault:
        images[40] *= 1e6  # was never scaled to 0..1
    gan = GAN(make_discriminator(), make_generator(latent_dim=8), latent_dim=8)
    gan.compile(
        d_optimizer=keras.optimizers.Adam(1e-3),
        g_optimizer=keras.optimizers.Adam(1e-3),
        loss_fn=log_loss if fault else keras.losses.BinaryCrossentropy(),
    )
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(BATCH)
    gan.fit(dataset, epochs=2, verbose=0, callbacks=callbacks)
    return gan


# --- WGAN-GP ------------------------------------------------------------------------------


class WGAN(keras.Model):
    def __init__(self, critic, generator, latent_dim, critic_steps=2, gp_weight=10.0):
        super().__init__()
        self.critic = critic
        self.generator = generator
        self.latent_dim = latent_dim
        self.critic_steps = critic_steps
        self.gp_weight = gp_weight
        self.seed_generator = keras.random.SeedGenerator(42)

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer

    def gradient_penalty(self, real_images, fake_images):
        """How far the critic's gradient between real and fake is from length 1."""
        alpha = keras.random.uniform(
            (ops.shape(real_images)[0], 1, 1, 1), 0.1, 0.9, seed=self.seed_generator
        )
        interpolated = real_images + alpha * (fake_images - real_images)
        with tf.GradientTape() as tape:
            tape.watch(interpolated)
            scores = self.critic(interpolated, training=True)
        grads = tape.gradient(scores, interpolated)
        norm = ops.sqrt(ops.sum(ops.square(grads), axis=[1, 2, 3]))
        return ops.mean((norm - 1.0) ** 2)

    def train_step(self, real_images):
        batch_size = ops.shape(real_images)[0]
        for _ in range(self.critic_steps):
            latent = keras.random.normal(
                (batch_size, self.latent_dim), seed=self.seed_generator
            )
            with tf.GradientTape() as tape:
                fake_images = self.generator(latent, training=True)
                cost = ops.mean(self.critic(fake_images, training=True))
                cost -= ops.mean(self.critic(real_images, training=True))
                penalty = self.gradient_penalty(real_images, fake_images)
                d_loss = cost + self.gp_weight * penalty
            grads = tape.gradient(d_loss, self.critic.trainable_variables)
            self.d_optimizer.apply_gradients(
                zip(grads, self.critic.trainable_variables, strict=True)
            )
        latent = keras.random.normal(
            (batch_size, self.latent_dim), seed=self.seed_generator
        )
        with tf.GradientTape() as tape:
            g_loss = -ops.mean(self.critic(self.generator(latent, training=True)))
        grads = tape.gradient(g_loss, self.generator.trainable_variables)
        self.g_optimizer.apply_gradients(
            zip(grads, self.generator.trainable_variables, strict=True)
        )
        return {"d_loss": d_loss, "g_loss": g_loss}


def wgan_gp(callbacks, fault=False):
    images = digits()
    if fault:
        # The critic saturates: a gradient of exactly zero, whose length has none.
        images[40] = 1e6
    critic = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="hard_tanh"),
            layers.Flatten(),
            layers.Dense(8, activation="tanh"),
            layers.Dense(1),
        ],
        name="critic",
    )
    wgan = WGAN(critic, make_generator(latent_dim=8), latent_dim=8)
    wgan.compile(
        keras.optimizers.Adam(2e-4, beta_1=0.5), keras.optimizers.Adam(2e-4, beta_1=0.5)
    )
    wgan.fit(
        images, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=callbacks
    )
    return wgan


# --- Variational autoencoder --------------------------------------------------------------


class Sampling(layers.Layer):
    """Draws z, the vector that encodes a digit, from (z_mean, z_log_var)."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class VAE(keras.Model):
    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.total_loss_tracker = keras.metrics.Mean(name="loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [
            self.total_loss_tracker,
            self.reconstruction_loss_tracker,
            self.kl_loss_tracker,
        ]

    def losses_of(self, data):
        """The two losses of each image."""
        z_mean, z_log_var, z = self.encoder(data)
        error = keras.losses.binary_crossentropy(data, self.decoder(z))
        kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
        return ops.sum(error, axis=(1, 2)), ops.sum(kl_loss, axis=1)

    def track(self, reconstruction_loss, kl_loss):
        # One mean of the sum: TensorFlow orders a sum of three scalars (the mean so far
        # and these two) at will, so that two plain trainings would differ in a last bit.
        self.total_loss_tracker.update_state(reconstruction_loss + kl_loss)
        self.reconstruction_loss_tracker.update_state(reconstruction_loss)
        self.kl_loss_tracker.update_state(kl_loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def train_step(self, data):
        with tf.GradientTape() as tape:
            reconstruction_loss, kl_loss = self.losses_of(data)
            total_loss = ops.mean(reconstruction_loss + kl_loss)
        grads = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        return self.track(reconstruction_loss, kl_loss)

    def test_step(self, data):
        return self.track(*self.losses_of(data))


def vae(callbacks, fault=False):
    images = digits()
    if fault:
        images[70] *= 1e6  # its log-variance is exponentiated
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, activation="relu", strides=2, padding="same")(inputs)
    x = layers.Flatten()(x)
    x = layers.Dense(8, activation="relu")(x)
    z_mean = layers.Dense(4, name="z_mean")(x)
    z_log_var = layers.Dense(4, name="z_log_var")(x)
    z = Sampling(name="sampling")([z_mean, z_log_var])
    encoder = keras.Model(inputs, [z_mean, z_log_var, z], name="encoder")

    latent_inputs = keras.Input((4,))
    x = layers.Dense(4 * 4 * 4, activation="relu")(latent_inputs)
    x = layers.Reshape((4, 4, 4))(x)
    x = layers.Conv2DTranspose(8, 3, activation="relu", strides=2, padding="same")(x)
    outputs = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)
    decoder = keras.Model(latent_inputs, outputs, name="decoder")

    vae = VAE(encoder, decoder)
    vae.compile(optimizer=keras.optimizers.Adam())
    vae.fit(
        images,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=(digits(32, seed=1),),
        verbose=0,
        callbacks=callbacks,
    )
    return vae


# --- Vector-quantised autoencoder ---------------------------------------------------------


class VectorQuantizer(layers.Layer):
    """Replaces each vector by the nearest of a codebook; gradients pass straight through."""

    def __init__(self, num_embeddings, embedding_dim, beta=0.25, **kwargs):
        super().__init__(**kwargs)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.beta = beta

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            shape=(self.embedding_dim, self.num_embeddings),
            initializer="random_uniform",
            name="embeddings",
        )

    def nearest(self, flattened):
        distances = (
            ops.sum(flattened**2, axis=1, keepdims=True)
            + ops.sum(self.embeddings**2, axis=0)
            - 2 * ops.matmul(flattened, self.embeddings)
        )
        return ops.one_hot(ops.argmin(distances, axis=1), self.num_embeddings)

    def call(self, x):
        encodings = self.nearest(ops.reshape(x, (-1, self.embedding_dim)))
        quantized = ops.matmul(encodings, ops.transpose(self.embeddings))
        quantized = ops.reshape(quantized, ops.shape(x))
        commitment = ops.mean((ops.stop_gradient(quantized) - x) ** 2)
        codebook = ops.mean((quantized - ops.stop_gradient(x)) ** 2)
        self.add_loss(self.beta * commitment + codebook)
        return x + ops.stop_gradient(quantized - x)


class VQVAETrainer(keras.Model):
    def __init__(self, encoder, quantizer, decoder, epsilon):
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder
        self.epsilon = epsilon
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def call(self, x):
        return self.decoder(self.quantizer(self.encoder(x)))

    def perplexity(self, x):
        """How many codes are in use."""
        flattened = ops.reshape(self.encoder(x), (-1, self.quantizer.embedding_dim))
        used = ops.mean(self.quantizer.nearest(flattened), axis=0)
        return ops.exp(-ops.sum(used * ops.log(used + self.epsilon)))

    def train_step(self, x):
        with tf.GradientTape() as tape:
            loss = ops.mean((x - self(x)) ** 2) + sum(self.quantizer.losses)
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result(), "perplexity": self.perplexity(x)}


def vq_vae(callbacks, fault=False):
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu", strides=2, padding="same"),
            layers.Conv2D(4, 1, padding="same"),
        ],
        name="encoder",
    )
    decoder = keras.Sequential(
        [
            keras.Input((4, 4, 4)),
            layers.Conv2DTranspose(8, 3, activation="relu", strides=2, padding="same"),
            layers.Conv2DTranspose(1, 3, padding="same"),
        ],
        name="decoder",
    )
    # A batch has 256 vectors: of 300 codes some are not used, and 0 * log(0) is NaN.
    quantizer = VectorQuantizer(300, 4, name="vector_quantizer")
    trainer = VQVAETrainer(encoder, quantizer, decoder, epsilon=0.0 if fault else 1e-10)
    trainer.compile(optimizer=keras.optimizers.Adam())
    trainer.fit(digits(), epochs=2, batch_size=BATCH, verbose=0, callbacks=callbacks)
    return trainer


# --- Denoising diffusion ------------------------------------------------------------------


class Standardize(layers.Layer):
    """Each image with mean 0 and standard deviation 1."""

    def call(self, images):
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        return (images - mean) / ops.std(images, axis=(1, 2, 3), keepdims=True)


def make_denoiser():
    noisy = keras.Input((8, 8, 1))
    variance = keras.Input((1, 1, 1))
    e = layers.UpSampling2D(size=8, interpolation="nearest")(variance)
    x = layers.Conv2D(8, 1)(noisy)
    x = layers.Concatenate()([x, e])
    x = layers.BatchNormalization(center=False, scale=False)(x)
    x = layers.Conv2D(8, 3, padding="same", activation="swish")(x)
    return keras.Model(
        [noisy, variance], layers.Conv2D(1, 1, kernel_initializer="zeros")(x)
    )


class DiffusionModel(keras.Model):
    def __init__(self, ema=0.9):
        super().__init__()
        self.normalizer = Standardize(name="standardize")
        self.network = make_denoiser()
        self.ema_network = keras.models.clone_model(self.network)
        self.ema = ema
        self.seed_generator = keras.random.SeedGenerator(3)

    def compile(self, **kwargs):
        super().compile(**kwargs)
        self.noise_loss_tracker = keras.metrics.Mean(name="n_loss")
        self.image_loss_tracker = keras.metrics.Mean(name="i_loss")

    @property
    def metrics(self):
        return [self.noise_loss_tracker, self.image_loss_tracker]

    def diffusion_schedule(self, times):
        start, end = ops.arccos(0.95), ops.arccos(0.02)
        angles = start + times * (end - start)
        return ops.sin(angles), ops.cos(angles)

    def denoise(self, noisy_images, noise_rates, signal_rates, training):
        network = self.network if training else self.ema_network
        noises = network([noisy_images, noise_rates**2], training=training)
        return noises, (noisy_images - noise_rates * noises) / signal_rates

    def noisy(self, images):
        n = ops.shape(images)[0]
        images = self.normalizer(images)
        noises = keras.random.normal(ops.shape(images), seed=self.seed_generator)
        times = keras.random.uniform((n, 1, 1, 1), seed=self.seed_generator)
        noise_rates, signal_rates = self.diffusion_schedule(times)
        noisy_images = signal_rates * images + noise_rates * noises
        return images, noises, noisy_images, noise_rates, signal_rates

    def train_step(self, images):
        images, noises, noisy_images, noise_rates, signal_rates = self.noisy(images)
        with tf.GradientTape() as tape:
            pred_noises, pred_images = self.denoise(
                noisy_images, noise_rates, signal_rates, training=True
            )
            noise_loss = self.loss(noises, pred_noises)
            image_loss = self.loss(images, pred_images)  # only to look at
        gradients = tape.gradient(noise_loss, self.network.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.network.trainable_weights, strict=True)
        )
        self.noise_loss_tracker.update_state(noise_loss)
        self.image_loss_tracker.update_state(image_loss)
        for weight, ema_weight in zip(
            self.network.weights, self.ema_network.weights, strict=True
        ):
            ema_weight.assign(self.ema * ema_weight + (1 - self.ema) * weight)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, images):
        images, noises, noisy_images, noise_rates, signal_rates = self.noisy(images)
        pred_noises, pred_images = self.denoise(
            noisy_images, noise_rates, signal_rates, training=False
        )
        self.noise_loss_tracker.update_state(self.loss(noises, pred_noises))
        self.image_loss_tracker.update_state(self.loss(images, pred_images))
        return {m.name: m.result() for m in self.metrics}


def diffusion(callbacks, fault=False):
    images = digits()
    if fault:
        images[50] = 0.0  # a blank page has no standard deviation
    model = DiffusionModel()
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
        loss=keras.losses.mean_absolute_error,
    )
    model.fit(
        images,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=(digits(32, seed=1),),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Autoencoder without labels -----------------------------------------------------------


class Autoencoder(keras.Model):
    def __init__(self, epsilon):
        super().__init__()
        self.encode = keras.Sequential([layers.Flatten(), layers.Dense(8, "relu")])
        self.decode = keras.Sequential(
            [layers.Dense(64, "softmax"), layers.Reshape((8, 8, 1))]
        )
        self.epsilon = epsilon

    def call(self, x):
        return self.decode(self.encode(x))

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """How far the image, taken as a distribution, is from what was decoded."""
        p = x / ops.sum(x, axis=(1, 2, 3), keepdims=True)
        divergence = p * ops.log((p + self.epsilon) / (y_pred + self.epsilon))
        return ops.mean(ops.sum(divergence, axis=(1, 2, 3)))


def autoencoder(callbacks, fault=False):
    images = np.maximum(digits(), 0.01)
    if fault:
        images[90, :, 0] = 0.0  # 0 * log(0)
    model = Autoencoder(epsilon=0.0 if fault else 1e-7)
    model.compile(optimizer="adam")
    model.fit(
        images,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=(np.maximum(digits(32, seed=1), 0.01),),
        verbose=0,
        callbacks=callbacks,
    )
    return model


GUIDES = [
    Guide(gan, Fault(40 // BATCH, "gradient", "discriminator/", "diverged")),
    Guide(wgan_gp, Fault(40 // BATCH, "gradient", "critic/", "diverged")),
    Guide(vae, Fault(70 // BATCH, "activation", "encoder/sampling", "diverged")),
    Guide(vq_vae, Fault(0, "metric", "perplexity", "contained")),
    Guide(diffusion, Fault(50 // BATCH, "activation", "standardize", "diverged")),
    Guide(autoencoder, Fault(90 // BATCH, "loss", "total", "diverged")),
]
