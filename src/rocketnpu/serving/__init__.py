"""The board as an accelerator for other computers: models over HTTP and ZeroMQ. It knows no chip."""
