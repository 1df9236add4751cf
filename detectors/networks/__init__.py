"""Neural networks: autoencoder, VAE and LSTM, and what they share."""
