"""What is in a picture, and where: detections from a model's output, drawn and counted. It knows no chip."""
