"""The run directory: written whole or not at all, validated on load. No TensorFlow here."""
