"""A run as a folder that the Hugging Face Hub expects, with a model card; and sending it there."""
